// The keys: what they are, and how they are heard. They drive the controls themselves, so that both always agree.
const KEYS = [
  ["← → ↑ ↓, Home, End", "go from image to image"], ["Enter", "open an image: large, in numbers, in Python"],
  ["Esc", "close it"], ["m, l, t", "next method, layer, target (with Shift: the one before)"],
  ["v", "side by side or slider"], ["[ and ]", "weaker and stronger colour"], [", and .", "move the slider"],
  ["c, w", "next class, next kind of answer (with Shift: the one before)"], ["d", "only where the answers differ"],
  ["s, r", "next thing to sort by, other way around"], ["1, 2, 3", "images, class means, mistakes"],
  ["0", "no filter, no order"], ["?", "show these keys"],
];

// moves: key -> card to go to. steps: key -> select to step through. others: key -> act.
function listen(body, box, { go, moves, steps, step, others }) {
  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.matches("select, input[type=number]")) return;  // these have a use of their own for letters and digits
    const field = steps[event.key.toLowerCase()];
    const move = (target.closest(".card") || box.open) && !target.matches("input, pre") ? moves[event.key] : null;
    let act = null;
    if (move) act = () => go(move());
    else if (!box.open && field) act = () => step(field, event.shiftKey ? -1 : 1);
    else if (!box.open) act = others[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
}
