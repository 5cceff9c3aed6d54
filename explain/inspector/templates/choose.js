// Which images are shown, in which order, and the Python that says the same. What passes here passes in
// explain/inspector/inspection.py: `only` and `sorted`.
function chooser(data, arrays) {
  const two = data.names.length === 2;
  const wrongs = data.label.map((label, row) => data.predicted.map((answers) => answers[row] !== label));

  function passes(state, row) {
    const wrong = wrongs[row];
    const count = wrong.filter(Boolean).length;
    const confidences = data.confidence.map((run) => run[row]);
    if (state.cls !== "" && data.label[row] !== Number(state.cls)) return false;
    if (state.answers === "right" && count) return false;
    if (state.answers === "wrong" && !count) return false;
    if (state.answers === "all" && count < wrong.length) return false;
    if (/^\d$/.test(state.answers) && !(wrong[Number(state.answers)] && count === 1)) return false;
    if (state.disagree && new Set(data.predicted.map((answers) => answers[row])).size < 2) return false;
    const narrowed = state.low > 0 || state.high < 100;
    return !narrowed || confidences.some((c) => c !== null && c >= state.low / 100 && c <= state.high / 100);
  }

  function measure(view, name, row, run) {
    if (name === "index") return data.index[row];
    if (name === "confidence") return data.confidence[run][row] ?? NaN;
    const found = view.layer.measures.find((m) => m.name === name);
    const n = data.index.length;
    const at = (view.target * data.names.length + run) * n + row;
    return unstep(arrays[`${view.method.name}/${view.layer.name}/${name}`], at, found, data.none);
  }

  // Images without a value come last; equal ones stay in the order that they had.
  function ordered(state, view, rows) {
    if (!state.by) return rows;
    const [name, run] = state.by.split("/");
    const value = (row) => run === "difference"
      ? measure(view, name, row, 0) - measure(view, name, row, 1) : measure(view, name, row, Number(run));
    const keys = new Map(rows.map((row) => [row, value(row)]));
    const sign = state.down ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    });
  }

  function rows(state, view) {
    const mistakes = state.page === "mistakes";
    const all = [...data.index.keys()].filter((row) => passes(state, row) && (!mistakes || wrongs[row].some(Boolean)));
    return ordered(state, view, all);
  }

  // Mistakes by whose they are.
  function groups(state, shown) {
    if (state.page !== "mistakes" || !two) return [[state.page === "mistakes" ? "Wrong" : "", shown]];
    const kinds = [[`Wrong only ${data.names[0]}`, (w) => w[0] && !w[1]], [`Wrong only ${data.names[1]}`, (w) => w[1] && !w[0]],
                   ["Both wrong", (w) => w[0] && w[1]]];
    return kinds.map(([title, fits]) => [title, shown.filter((row) => fits(wrongs[row]))]).filter(([, some]) => some.length);
  }

  // What each measure comes to, for the reader of one image.
  const measures = (view) => view.layer.measures;

  // --- the same in Python -------------------------------------------------------------------------------------------

  const quoted = (text) => JSON.stringify(text);
  const number = (value) => String(Number(value.toFixed(2)));

  function made(view) {
    const at = `method=${quoted(view.method.name)}, layer=${quoted(view.layer.name)}, ` +
               `target=${quoted(data.targets[view.target])}`;
    return `${data.code || "# shown: the inspection that this page was made from"}\nshown = shown.at(${at})\n`;
  }

  function narrowed(state) {
    const said = [];
    if (state.cls !== "") said.push(`cls=${quoted(data.classes[Number(state.cls)])}`);
    const whose = /^\d$/.test(state.answers) ? quoted(data.names[Number(state.answers)]) : null;
    const wrong = { right: "False", wrong: "True", all: '"all"' }[state.answers] ?? whose;
    if (wrong) said.push(`wrong=${wrong}`);
    else if (state.page === "mistakes") said.push("wrong=True");
    if (state.disagree) said.push("disagree=True");
    if (state.low > 0 || state.high < 100) said.push(`confidence=(${number(state.low / 100)}, ${number(state.high / 100)})`);
    return said.length ? `shown = shown.only(${said.join(", ")})\n` : "";
  }

  function sorted(state) {
    if (!state.by) return "";
    const [name, run] = state.by.split("/");
    return `shown = shown.sorted(${quoted(name)}, run=${run === "difference" ? quoted(run) : run}` +
           `${state.down ? ", descending=True" : ""})\n`;
  }

  const python = {
    image: (state, view, row) => `${made(view)}shown.image(${data.index[row]}).figure(strength=${number(state.strength)})`,
    mean: (state, view, label) => `${made(view)}${narrowed({ ...state, cls: label })}` +
                                  `shown.mean_figure(strength=${number(state.strength)})`,
    page: (state, view, count) => made(view) + narrowed(state) + (state.page === "means"
      ? `shown.mean_figure(strength=${number(state.strength)})`
      : `${sorted(state)}shown.figure(limit=${Math.max(1, count)}, strength=${number(state.strength)})`),
  };

  return { rows, groups, measure, measures, wrongs, python };
}
