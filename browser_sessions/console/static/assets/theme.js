// Runs before the first paint, so that the theme does not flash. Not a module: those are deferred.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // storage is disabled: the system's theme is used
}
