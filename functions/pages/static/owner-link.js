// Leads the owner of an inbox, whose link has the owner token after "#", to the page for owners, before this one is shown.
(() => {
  const lead = () => {
    if (!/^#owner=/.test(location.hash)) return;
    const [, inboxes, id] = /^(.*)[/]([^/]+)[/]?$/.exec(location.pathname);
    location.replace(`${inboxes}#${id}&${location.hash.slice(1)}`);
  };
  lead();
  window.addEventListener("hashchange", lead);
})();
