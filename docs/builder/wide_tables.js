// Wide tables scroll inside a wrapper that the tool's script makes: let the keyboard reach it.
(() => {
  const reach = () => {
    for (const wrapper of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) wrapper.tabIndex = 0;
  };
  new MutationObserver(reach).observe(document.documentElement, { childList: true, subtree: true });
  reach();
})();
