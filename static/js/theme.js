// Light, dark, or as the system; remembered by the browser.

const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function theme(button, text) {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("gantry-theme") ?? "auto";
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  const apply = () => {
    document.documentElement.dataset.theme = chosen;
    text.textContent = chosen;
    button.setAttribute("aria-label", `Colours: ${chosen}. Change`);
  };
  button.addEventListener("click", () => {
    chosen = NEXT[chosen] ?? "auto";
    apply();
    try {
      localStorage.setItem("gantry-theme", chosen);
    } catch {
      // See above.
    }
  });
  if (!(chosen in NEXT)) chosen = "auto";
  apply();
}
