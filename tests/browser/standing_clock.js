// Has time stand still in a page until `pass(ms)` is called; chance is always one half. What is to happen within a frame
// happens: it is drawing.
(() => {
  const FRAME_MS = 50;
  const real = { setTimeout: window.setTimeout, clearTimeout: window.clearTimeout };
  const waiting = new Map();
  let now = 1000;
  let lastId = 1e9; // the page's own numbers are smaller

  Math.random = () => 0.5;
  Date.now = () => now;
  window.setTimeout = (act, ms = 0, ...given) => {
    if (ms < FRAME_MS) return real.setTimeout.call(window, act, ms, ...given);
    waiting.set(++lastId, { at: now + ms, act });
    return lastId;
  };
  window.clearTimeout = (id) => waiting.delete(id) || real.clearTimeout.call(window, id);
  window.pass = (ms) => {
    const end = now + ms;
    for (;;) {
      const [id, next] = [...waiting].sort(([, one], [, other]) => one.at - other.at)[0] ?? [0, { at: Infinity }];
      if (next.at > end) break;
      now = Math.max(next.at, now);
      waiting.delete(id);
      next.act();
    }
    now = end;
  };
})();
