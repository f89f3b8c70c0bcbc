// Light or dark: as the system has it, unless somebody chose. Kept in this browser.
const NAME = "cairn-theme";
export type Theme = "system" | "light" | "dark";

export function chosenTheme(): Theme {
  const found = window.localStorage.getItem(NAME);
  return found === "light" || found === "dark" ? found : "system";
}

function apply(theme: Theme): void {
  const dark = theme === "dark" || (theme === "system" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
}

export function chooseTheme(theme: Theme): void {
  if (theme === "system") window.localStorage.removeItem(NAME);
  else window.localStorage.setItem(NAME, theme);
  apply(theme);
}

/** Applies what was chosen, now and when the system changes. */
export function startTheme(): void {
  apply(chosenTheme());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(chosenTheme()));
}
