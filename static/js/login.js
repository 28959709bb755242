// Brings somebody who wanted a certain view of the dashboard there after the login: what stands
// behind `#` in an address never reaches a server by itself.

const view = location.hash;
if (view.startsWith("#/")) {
  for (const link of document.querySelectorAll("a.provider")) {
    const url = new URL(link.href);
    const page = url.searchParams.get("next") ?? "/";
    url.searchParams.set("next", page.split("#")[0] + view);
    link.href = url.href;
  }
}
