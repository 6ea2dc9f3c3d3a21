#!/usr/bin/env bash
# DuckDB 2.0.1 (and 2.0.0) reads JSON lines without an error, and loses all values of a key that is null in the
# first 20,480 lines: the column has the type "NULL" then. 1.5.6 gives it the type JSON, which has every value; a value
# that does not fit another type is still an error. `null` is a value, and the key is there (RFC 8259, section 3). Files
# with one key for each field have such columns: counts of losses are null until the first machine that counts.
# docs/jsonl has a query that names the columns (docs/examples/messages.sql, tests/project/test_jsonl_schema.py).
#
# Counts the values of a key that is null in 20,479 and in 20,480 lines before a number, by both versions, and by 2.0.1
# with sample_size = -1; prints the types. Fails if 1.5.6 loses one, or 2.0.1 none.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/count.py" <<'PYTHON'
import sys

import duckdb

directory, options = sys.argv[1:]
for nulls in (20479, 20480):
    path = f"{directory}/{nulls}.jsonl"
    with open(path, "w") as file:
        for number in range(nulls + 10):
            file.write('{"seq":%d,"lost":%s,"pad":"%0500d"}\n' % (number, "null" if number < nulls else "7", 0))
    query = f"SELECT any_value(typeof(lost)), count(*), count(lost), sum(lost::INT) FROM read_json('{path}'{options})"
    kind, rows, values, total = duckdb.execute(query).fetchone()
    print(f"DuckDB {duckdb.__version__}{options}, {nulls} nulls: {kind}, {rows} rows, {values} values, sum {total}")
PYTHON
for version in 1.5.6 2.0.1; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet "duckdb==$version"
    "$work/$version/bin/python" "$work/count.py" "$work" ''
done >"$work/out"
"$work/2.0.1/bin/python" "$work/count.py" "$work" ', sample_size = -1' >>"$work/out"
cat "$work/out"
if [ "$(grep -c '10 values, sum 70' "$work/out")" != 5 ] ||
    ! grep -q '^DuckDB 2.0.1, 20480 nulls: "NULL", 20490 rows, 0 values, sum None' "$work/out"; then
    echo 'The behaviour has changed.' >&2
    exit 1
fi
