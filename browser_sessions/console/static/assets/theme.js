// Runs before the first paint, so that a chosen theme never flashes. No module: modules wait.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // storage is switched off: the system's theme holds
}
