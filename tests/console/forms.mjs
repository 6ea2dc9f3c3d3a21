// The forms of texts, and the expressions of the forms, for tests/console/test_forms.py: JSON from and to the standard streams.
import { readFileSync } from "node:fs";

const { form, formRegex } = await import(new URL("js/forms.js", import.meta.url));
const texts = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(JSON.stringify(texts.map(form).map((one) => [one, formRegex(one)])));
