// Before the first paint, so that a dark page does not flash white. The only script that is no module.
try {
    const theme = JSON.parse(localStorage.getItem("netconsd") ?? "{}").theme;
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
    // The browser's own theme.
}
