"use strict";
(() => {
  const details = JSON.parse(document.getElementById("details").textContent);
  const flow = document.getElementById("flow");
  const across = document.getElementById("across");
  const map = document.getElementById("map");
  const panel = document.getElementById("panel");
  const tokens = [...flow.children];
  const last = tokens.length - 1;
  // Where it can be shown beside scores, which are shares of an attention.
  const threshold = details.threshold !== null && details.threshold >= 0 && details.threshold <= 1 ? details.threshold : null;
  const greatest = Math.max(threshold ?? 0, ...details.positions.map((p) => Math.max(0, ...p.scores)));
  let shown = 0;
  let held = false;
  let cursor = null;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // A name, a bar as long as `share`, a figure.
  const row = (name, share, figure, className) => {
    const made = element("div", undefined, "row");
    const track = element("div", undefined, "track");
    const bar = element("div");
    bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    track.append(bar);
    const label = element("span", name, className);
    label.title = name;
    made.append(label, track, element("span", figure));
    return made;
  };

  const scoreRow = (score, cycle) => {
    const made = row(`cycle ${cycle + 1}`, score / greatest, score.toFixed(4));
    if (threshold !== null) {
      const line = element("i");
      line.style.left = `${(100 * threshold) / greatest}%`;
      made.children[1].append(line);
    }
    return made;
  };

  const candidateRow = ([id, probability]) => {
    const figure = probability < 0.0001 ? "< 0.01 %" : `${(100 * probability).toFixed(2)} %`;
    return row(details.names[id], probability, figure, "token");
  };

  const describe = (p) => {
    const { id, cycles, scores, next } = details.positions[p];
    const total = document.querySelectorAll(".legend li").length;
    const parts = [
      element("h3", details.names[id]),
      element("p", `position ${p}, id ${id}`),
      element("p", `ran ${cycles} of ${total} ${total === 1 ? "cycle" : "cycles"}`),
    ];
    if (scores.length) parts.push(element("h4", "Scores"), ...scores.map(scoreRow));
    if (next.length) parts.push(element("h4", "Likeliest next tokens"), ...next.map(candidateRow));
    panel.replaceChildren(...parts);
  };

  const markColumn = (p) => {
    if (!map) return;
    if (!cursor) {
      cursor = map.querySelector("rect").cloneNode();
      cursor.setAttribute("class", "on");
      cursor.setAttribute("y", "0");
      cursor.style.height = `${map.viewBox.baseVal.height}px`;
      map.append(cursor);
    }
    cursor.setAttribute("x", p);
  };

  // Scrolls `box` alone, never the page, until what lies from `start` to `end` can be seen.
  const reveal = (box, side, size, start, end) => {
    if (start < box[side]) box[side] = start;
    else if (end > box[side] + box[size]) box[side] = end - box[size];
  };

  const revealColumn = (p) => {
    if (!map) return;
    const width = map.clientWidth / (last + 1);
    reveal(across, "scrollLeft", "clientWidth", (p - 3) * width, (p + 4) * width);
  };

  const revealToken = (p) => {
    const top = tokens[p].getBoundingClientRect().top - flow.getBoundingClientRect().top + flow.scrollTop;
    reveal(flow, "scrollTop", "clientHeight", top - 30, top + 60);
  };

  const show = (p) => {
    tokens[shown].classList.remove("on");
    tokens[shown].tabIndex = -1;
    shown = Math.min(last, Math.max(0, p));
    tokens[shown].classList.add("on");
    tokens[shown].tabIndex = 0;
    describe(shown);
    markColumn(shown);
  };

  const fromText = (p) => { show(p); revealColumn(shown); };
  const fromMap = (p) => { show(p); revealToken(shown); };
  const columnAt = (event) => {
    const box = map.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) / box.width) * (last + 1));
  };
  const indexOf = new Map(tokens.map((token, p) => [token, p]));

  // The position that a key leads to, or none.
  const after = (key) =>
    ({ ArrowRight: shown + 1, ArrowDown: shown + 1, ArrowLeft: shown - 1, ArrowUp: shown - 1, Home: 0, End: last })[key];

  const onKey = (show) => (event) => {
    if (event.key === "Escape") held = false;
    const p = after(event.key);
    if (p === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(p);
  };

  flow.addEventListener("pointerover", (event) => {
    const p = indexOf.get(event.target);
    if (p !== undefined && !held) fromText(p);
  });
  flow.addEventListener("click", (event) => {
    const p = indexOf.get(event.target);
    if (p === undefined) return;
    held = !(held && p === shown);
    fromText(p);
  });
  flow.addEventListener("focusin", (event) => {
    const p = indexOf.get(event.target);
    if (p !== undefined && p !== shown) fromText(p);
  });
  flow.addEventListener("keydown", onKey((p) => { fromText(p); tokens[shown].focus(); }));
  if (map) {
    across.tabIndex = 0;
    across.setAttribute("role", "group");
    across.setAttribute("aria-label", "Scores: arrow keys go from position to position");
    map.addEventListener("pointermove", (event) => { if (!held) fromMap(columnAt(event)); });
    map.addEventListener("click", (event) => {
      const p = columnAt(event);
      held = !(held && p === shown);
      fromMap(p);
    });
    across.addEventListener("focus", () => markColumn(shown));
    across.addEventListener("keydown", onKey((p) => { fromMap(p); revealColumn(shown); }));
  }

  // `#12` in the address shows position 12.
  const fromAddress = () => {
    const asked = /^#(\d+)$/.exec(location.hash);
    if (!asked) return;
    held = true;
    fromText(Number(asked[1]));
    tokens[shown].scrollIntoView({ block: "center" });
  };
  window.addEventListener("hashchange", fromAddress);

  document.documentElement.classList.add("scripted");
  panel.hidden = false;
  tokens[0].tabIndex = 0;
  fromAddress();
})();
