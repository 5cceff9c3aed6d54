// Elements: the cards, and the box that opens on one.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function paintInto(canvases, pictures) {
  canvases.forEach((canvas, i) => {
    canvas.width = pictures[i].width;
    canvas.height = pictures[i].height;
    canvas.getContext("2d").putImageData(pictures[i], 0, 0);
  });
}

const percent = (share) => share === null ? "–" : `${Math.round(100 * share)}\u00a0%`;
const decimal = (value) => Number.isNaN(value) ? "–" : value.toFixed(2).replace("-", "\u2212");

// A card: pictures side by side, each with its heading above and its words below. `card.split` is its own slider.
function cardOf(label, headings, captions, slider) {
  const canvases = headings.map(() => el("canvas", { "aria-hidden": "true" }));
  const figures = headings.map((heading, i) => el("span", { class: slider && i === 1 ? "figure slider" : "figure" },
    el("span", { class: "head", title: heading }, heading), el("span", { class: "frame" }, canvases[i]), captions[i]));
  return Object.assign(el("button", { type: "button", class: "card", "aria-label": label, tabindex: "-1" }, ...figures),
    { canvases });
}

// What stands under a picture: the word, a mark if it is an answer, and a small line.
function caption(word, detail, right = null) {
  const mark = right === null ? null : el("span", { class: right ? "ok" : "no" }, right ? "✓\u00a0" : "✗\u00a0");
  return el("span", { class: "caption" }, mark, word, el("span", { class: "detail" }, detail));
}

// Code with a button that copies it; where the notebook forbids that, the text is selected for Ctrl-C.
function codeBox(text) {
  const code = el("code", {}, text);
  const said = el("span", { class: "said", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      said.textContent = "selected; press Ctrl-C";
    }
  };
  return Object.assign(el("div", { class: "code" }, el("pre", { tabindex: "0" }, code),
    el("p", {}, el("button", { type: "button", class: "plain", onclick: copy }, "Copy"), " ", said)), { code });
}
