// The rules that find mistakes; types are tsc's.
const globals = Object.fromEntries(
    ("document window location history localStorage navigator console fetch EventSource URL URLSearchParams AbortController AbortSignal " +
        "TextDecoder TextEncoder FormData Response ResizeObserver MutationObserver matchMedia getComputedStyle getSelection requestAnimationFrame " +
        "cancelAnimationFrame setTimeout clearTimeout setInterval clearInterval addEventListener removeEventListener scrollTo " +
        "isSecureContext Element HTMLElement uPlot").split(" ").map((name) => [name, "readonly"]),
);
export default [
    {
        files: ["**/*.js"],
        languageOptions: { ecmaVersion: 2024, sourceType: "module", globals },
        linterOptions: { reportUnusedDisableDirectives: "error" },
        rules: {
            "constructor-super": "error", "for-direction": "error", "getter-return": "error", "no-async-promise-executor": "error",
            "no-case-declarations": "error", "no-class-assign": "error", "no-compare-neg-zero": "error", "no-cond-assign": "error",
            "no-const-assign": "error", "no-constant-condition": ["error", { checkLoops: false }], "no-control-regex": "error",
            "no-debugger": "error", "no-dupe-args": "error", "no-dupe-keys": "error", "no-duplicate-imports": "error",
            "no-empty": "error", "no-eval": "error", "no-fallthrough": "error", "no-implied-eval": "error", "no-new-func": "error",
            "no-redeclare": "error", "no-self-assign": "error", "no-shadow": ["error", { hoist: "functions" }], "no-undef": "error",
            "no-unreachable": "error", "no-unused-vars": "error", "no-var": "error", "prefer-const": "error", eqeqeq: ["error", "always", { null: "ignore" }],
            "no-restricted-properties": ["error",
                { property: "innerHTML", message: "A kernel's text gets into the page as text nodes only." },
                { property: "outerHTML", message: "A kernel's text gets into the page as text nodes only." },
                { property: "insertAdjacentHTML", message: "A kernel's text gets into the page as text nodes only." },
                { object: "document", property: "write", message: "A kernel's text gets into the page as text nodes only." },
            ],
            "no-restricted-syntax": ["error",
                { selector: "Property[key.name='dangerouslySetInnerHTML']", message: "A kernel's text gets into the page as text nodes only." }],
        },
    },
];
