// The inspector: controls over one state, and what follows from it.
async function start(uid, css, data) {
  const host = document.getElementById(uid);
  if (!host || !data.index.length || typeof DecompressionStream === "undefined") return;  // the still stays
  const arrays = await unpack(data);
  const paint = painter(data, arrays);
  const choose = chooser(data, arrays);
  const two = data.names.length === 2;
  const fresh = { cls: "", answers: "", disagree: false, low: 0, high: 100, by: "", down: false };
  const state = { ...fresh, ...data.start, strength: data.strength, page: "images", view: "side", split: 0.5 };

  // --- controls: each writes one field of the state ------------------------------------------------------------------
  const controls = {};
  const changed = (field, value) => {
    state[field] = value;
    if (field === "strength" || field === "split") repaint();
    else update();
  };
  const named = (text, control) => el("label", {}, el("span", {}, text), control);

  function select(field, title, options, keys) {
    controls[field] = el("select", { name: field, "aria-keyshortcuts": keys,
                                     onchange: () => changed(field, controls[field].value) });
    fill(field, options);
    return named(title, controls[field]);
  }

  function fill(field, options) {
    controls[field].replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    if (!options.some(([value]) => value === state[field])) state[field] = options[0][0];
    controls[field].value = state[field];
    controls[field].disabled = options.length < 2;
  }

  function input(field, title, attributes, read) {
    controls[field] = el("input", { name: field, ...attributes, oninput: () => changed(field, read(controls[field])) });
    return named(title, controls[field]);
  }

  const range = (field, title, low, keys) => input(field, title,
    { type: "range", min: low, max: 100, step: 5, value: 100 * state[field], "aria-keyshortcuts": keys },
    (control) => Number(control.value) / 100);
  const bound = (field, title) => input(field, title,
    { type: "number", min: 0, max: 100, step: 1, value: state[field], "aria-label": `Confidence ${title}, per cent` },
    (control) => control.value === "" ? fresh[field] : Math.min(100, Math.max(0, Number(control.value))));

  const count = (fits) => data.index.filter((_, row) => fits(row)).length;
  const classes = [["", "all classes"], ...data.classes.map((name, i) =>
    [String(i), `${name} (${count((row) => data.label[row] === i)})`])];
  const answers = two
    ? [["", "all"], ["right", "both right"], ["wrong", "any wrong"], ["0", `wrong only ${data.names[0]}`],
       ["1", `wrong only ${data.names[1]}`], ["all", "both wrong"]]
    : [["", "all"], ["right", "right"], ["wrong", "wrong"]];

  const viewOf = () => {
    const method = data.methods.find((m) => m.name === state.method);
    const layer = method.layers.find((l) => l.name === state.layer) ?? method.layers[0];
    return { method, layer, target: data.targets.indexOf(state.target) };
  };

  function orders(view) {
    const found = [["", "the order of the test split"], ["index/0", "number in the test split"]];
    for (const { name, title } of [{ name: "confidence", title: "Confidence" }, ...choose.measures(view)]) {
      const ofBoth = name === "agreement";
      data.names.forEach((run, i) => {
        if (!ofBoth || i === 0) found.push([`${name}/${i}`, two && !ofBoth ? `${title}, ${run}` : title]);
      });
      if (two && !ofBoth) found.push([`${name}/difference`, `${title}, difference`]);
    }
    return found;
  }

  const pages = el("div", { class: "pages", role: "group", "aria-label": "What is shown" }, ...[
    ["images", "Images"], ["means", "Mean map of each class"], ["mistakes", "Mistakes"]].map(([page, title], i) =>
    el("button", { type: "button", class: "plain", "data-page": page, "aria-keyshortcuts": String(i + 1),
                   onclick: () => changed("page", page) }, title)));
  const slider = two ? range("split", "Slider", 0, ", .") : null;
  const shownBy = el("fieldset", {}, el("legend", {}, "Maps"),
    select("method", "Method", data.methods.map((m) => [m.name, m.title]), "m"),
    select("layer", "Layer", viewOf().method.layers.map((l) => [l.name, l.title]), "l"),
    select("target", "Evidence for", data.targets.map((t) => [t, t === "true" ? "the true class" : "the answer given"]), "t"),
    range("strength", "Colour", 0, "[ ]"),
    two ? select("view", "Runs", [["side", "side by side"], ["slider", "slider between them"]], "v") : null, slider);
  const sortedBy = select("by", "Sort by", orders(viewOf()), "s");
  const order = el("button", { type: "button", class: "plain", "aria-keyshortcuts": "r", onclick: () => changed("down", !state.down) });
  const reset = el("button", { type: "button", class: "plain", "aria-keyshortcuts": "0", onclick: () => {
    Object.assign(state, fresh);
    for (const field of Object.keys(fresh)) if (controls[field]) controls[field].value = state[field];
    if (controls.disagree) controls.disagree.checked = false;
    update();
  } }, "Reset");
  const which = el("fieldset", {}, el("legend", {}, "Images"),
    select("cls", "Class", classes, "c"), select("answers", "Answers", answers, "w"),
    el("span", { class: "bounds" }, bound("low", "Confidence from"), bound("high", "to"), el("span", {}, "%")),
    two ? input("disagree", "Answers differ", { type: "checkbox", "aria-keyshortcuts": "d" }, (c) => c.checked) : null,
    sortedBy, order, reset);

  // --- what follows from the state -----------------------------------------------------------------------------------
  const bar = el("canvas", { role: "img" });
  const [end, meaning] = [el("span"), el("span", { class: "what" })];
  const legend = el("div", { class: "scale" }, el("span", {}, "0"), bar, end, meaning);
  const status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  const board = el("div", { class: "board" });
  const python = codeBox("");
  const code = el("details", { class: "python" }, el("summary", {}, "Python that draws what is shown here"), python);
  const keys = el("details", { class: "keys" }, el("summary", {}, "Keys, while the focus is in here"),
    el("dl", {}, ...KEYS.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])));
  const box = el("dialog", { "aria-label": "One image", onclose: () => cards[current]?.focus() });
  const body = el("div", { class: "live" }, pages, el("div", { class: "controls" }, shownBy, which), legend, status, board,
    code, keys, box);

  let cards = [];
  let current = 0;
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      entry.target.seen = entry.isIntersecting;
      if (entry.isIntersecting) draw(entry.target);
    }
  }, { rootMargin: "300px" });

  function draw(card) {
    const view = viewOf();
    const split = state.view === "slider" ? card.split ?? state.split : null;
    if (split !== null) card.style.setProperty("--split", `${100 * split}%`);
    card.content ??= card.mean ? paint.means(view, card.mean)
      : { image: paint.imageOf(card.row), heats: data.names.map((_, run) => paint.heat(view, card.row, run)) };
    paintInto(card.canvases, paint.pictures(view, card.content.image, card.content.heats, state.strength, split));
    card.dataset.drawn = `${state.method} ${view.layer.name} ${state.target} ${state.strength}`;
  }

  const headings = () => state.view === "slider" ? ["image", `${short(0)} | ${short(1)}`]
    : ["image", ...data.names.map((_, run) => short(run))];
  const short = (run) => data.names[run].replace(/ augmentation\b/, "");

  function imageCard(view, row) {
    const truth = data.classes[data.label[row]];
    const said = data.names.map((name, run) => {
      const answer = data.classes[data.predicted[run][row]];
      const right = !choose.wrongs[row][run];
      const empty = paint.isEmpty(view, row, run);
      return { answer, right, empty, name, confidence: percent(data.confidence[run][row]) };
    });
    const label = `Test image ${data.index[row]}: ${truth}. ` + said.map((s) =>
      `${s.name}: predicts ${s.answer} with ${s.confidence} confidence, ${s.right ? "right" : "wrong"}` +
      `${s.empty ? ", no positive evidence" : ""}`).join(". ");
    const slides = state.view === "slider";
    const captions = said.map((s, run) => caption(s.answer,
      s.confidence + (slides ? `, ${short(run)}` : "") + (s.empty ? ", no evidence" : ""), s.right));
    const image = caption(truth, `no. ${data.index[row]}`);
    return Object.assign(cardOf(label, headings(), slides ? [image, el("span", { class: "both" }, ...captions)]
      : [image, ...captions], slides), { row });
  }

  function meanCard(label, rows) {
    const live = (run) => rows.filter((row) => !paint.isEmpty(viewOf(), row, run)).length;
    const name = data.classes[label];
    const slides = state.view === "slider";
    const captions = data.names.map((_, run) => caption("", `${slides ? `${short(run)}: ` : ""}${live(run)} with evidence`));
    const image = caption(name, `mean of ${rows.length}`);
    return Object.assign(cardOf(`${name}: mean of ${rows.length} images and of their maps`, headings(),
      slides ? [image, el("span", { class: "both" }, ...captions)] : [image, ...captions], slides),
    { mean: rows, label: String(label) });
  }

  function update() {
    if (state.low > state.high) state.low = state.high;
    let view = viewOf();
    fill("layer", view.method.layers.map((l) => [l.name, l.title]));
    view = viewOf();
    fill("by", orders(view));
    order.textContent = state.down ? "↓ largest first" : "↑ smallest first";
    order.setAttribute("aria-label", `Order: ${state.down ? "largest" : "smallest"} first`);
    order.disabled = !state.by;
    if (slider) slider.hidden = state.view !== "slider";
    for (const button of pages.children) button.setAttribute("aria-pressed", String(button.dataset.page === state.page));
    const scale = view.layer.scales[view.target];
    end.textContent = scale.end;
    meaning.textContent = `${scale.label}. Images without colour have none.`;
    bar.setAttribute("aria-label", `Colour scale, dark for 0 to bright for ${scale.end}`);
    const shown = choose.rows(state, view);
    const sort = state.by ? `, sorted by ${controls.by.selectedOptions[0].textContent}` : "";
    status.textContent = `${shown.length} of ${data.index.length} images${state.page === "means" ? "" : sort}`;
    python.code.textContent = choose.python.page(state, view, shown.length);
    layOut(view, shown);
  }

  // The same cards in other colours: those in sight now, the others when they come into it.
  function repaint() {
    for (const card of cards) {
      card.split = undefined;
      if (card.seen) draw(card);
    }
    python.code.textContent = choose.python.page(state, viewOf(), cards.length);
  }

  function layOut(view, shown) {
    const kept = cards[current]?.row;
    const had = body.getRootNode().activeElement?.classList.contains("card");
    seen.disconnect();
    const sections = state.page === "means"
      ? [["", data.classes.flatMap((_, label) => {
          const rows = shown.filter((row) => data.label[row] === label);
          return rows.length ? [meanCard(label, rows)] : [];
        })]]
      : choose.groups(state, shown).map(([title, rows]) => [title, rows.map((row) => imageCard(view, row))]);
    cards = sections.flatMap(([, some]) => some);
    board.replaceChildren(...sections.map(([title, some]) => el("section", {},
      title ? el("h3", {}, `${title} (${some.length})`) : null, el("div", { class: "cards" }, ...some))));
    if (!cards.length) board.replaceChildren(el("p", { class: "none" }, "No image passes these filters."));
    current = Math.max(0, cards.findIndex((card) => card.row !== undefined && card.row === kept));
    if (cards[current]) cards[current].tabIndex = 0;
    if (had) cards[current]?.focus();
    cards.forEach((card) => seen.observe(card));
  }

  function go(to) {
    if (!cards.length) return;
    if (cards[current]) cards[current].tabIndex = -1;
    current = Math.min(cards.length - 1, Math.max(0, to));
    cards[current].tabIndex = 0;
    if (box.open) open(cards[current]);
    else cards[current].focus();
  }

  // The nearest card in the row above or below.
  function beside(direction) {
    const from = cards[current].getBoundingClientRect();
    const others = cards.map((card, i) => [i, card.getBoundingClientRect()])
      .filter(([, at]) => direction * (at.top - from.top) > 1);
    if (!others.length) return current;
    const nearest = direction * Math.min(...others.map(([, at]) => direction * at.top));
    return others.filter(([, at]) => Math.abs(at.top - nearest) < 2)
      .reduce((a, b) => Math.abs(b[1].left - from.left) < Math.abs(a[1].left - from.left) ? b : a)[0];
  }

  // --- one image, large ----------------------------------------------------------------------------------------------
  function open(card) {
    const view = viewOf();
    const large = card.mean ? meanCard(Number(card.label), card.mean) : imageCard(view, card.row);
    const pictures = el("div", { class: "card large" }, ...large.childNodes);
    Object.assign(pictures, { canvases: large.canvases, row: card.row, mean: card.mean });
    const head = card.mean ? `${data.classes[Number(card.label)]}, mean of ${card.mean.length} images`
      : `Test image ${data.index[card.row]}: ${data.classes[data.label[card.row]]}`;
    const facts = card.mean ? null : el("div", { class: "wide" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Measure"), ...data.names.map((n) => el("th", { scope: "col" }, n)))),
      el("tbody", {}, ...choose.measures(view).map((m) => el("tr", {}, el("th", { scope: "row", title: m.definition }, m.title),
        ...data.names.map((_, run) => el("td", {}, decimal(choose.measure(view, m.name, card.row, run)))))))));
    const text = card.mean ? choose.python.mean(state, view, card.label) : choose.python.image(state, view, card.row);
    const close = el("button", { type: "button", class: "plain", autofocus: true, onclick: () => box.close() }, "Close");
    box.replaceChildren(el("div", { class: "top" }, el("h3", {}, head), close),
      el("p", { class: "what" }, `${view.method.title}, ${view.layer.title}, evidence for ${
        state.target === "true" ? "the true class" : "the answer given"}`),
      pictures, facts, el("h4", {}, "Python that draws this"), codeBox(text));
    if (!box.open) box.showModal();
    draw(pictures);
    close.focus();
  }

  board.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    go(cards.indexOf(card));
    open(card);
  });
  // In the slider view the pointer moves the change-over of the picture that it is on.
  body.addEventListener("pointermove", (event) => {
    const frame = event.target.closest?.(".slider .frame");
    const card = frame?.closest(".card");
    if (!card) return;
    const at = frame.getBoundingClientRect();
    card.split = Math.min(1, Math.max(0, (event.clientX - at.left) / at.width));
    draw(card);
  });

  // --- keys drive the controls themselves ----------------------------------------------------------------------------
  function step(field, by) {
    const control = controls[field];
    if (!control || control.disabled) return;
    const n = control.options.length;
    control.selectedIndex = (control.selectedIndex + by + n) % n;
    changed(field, control.value);
  }

  function slide(field, by) {
    if (!controls[field]) return;
    controls[field].value = Number(controls[field].value) + by;
    changed(field, Number(controls[field].value) / 100);
  }

  function toggle() {
    if (!controls.disagree) return;
    controls.disagree.checked = !controls.disagree.checked;
    changed("disagree", controls.disagree.checked);
  }

  const steps = { m: "method", l: "layer", t: "target", v: "view", c: "cls", w: "answers", s: "by" };
  const moves = { ArrowLeft: () => current - 1, ArrowRight: () => current + 1, ArrowUp: () => beside(-1),
                  ArrowDown: () => beside(1), Home: () => 0, End: () => cards.length - 1 };
  const others = { "[": () => slide("strength", -10), "]": () => slide("strength", 10), ",": () => slide("split", -5),
                   ".": () => slide("split", 5), d: toggle, r: () => { if (state.by) changed("down", !state.down); },
                   1: () => changed("page", "images"), 2: () => changed("page", "means"), 3: () => changed("page", "mistakes"),
                   0: () => reset.click(), "?": () => { keys.open = !keys.open; keys.scrollIntoView({ block: "nearest" }); } };

  listen(body, box, { go, moves, steps, step, others });

  const shadow = host.attachShadow({ mode: "open" });
  const width = data.size[1] * Math.max(1, Math.round(105 / data.size[1]));
  shadow.append(el("style", {}, css), el("div", { class: "explain", style: `--w:${width}px;--ratio:${data.size[1]}/${data.size[0]}` }, body));
  paint.legend(bar);
  update();
  host.dataset.ready = performance.now().toFixed(0);  // milliseconds since the document was opened
}
