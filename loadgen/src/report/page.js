"use strict";
// Draws every chart of the JSON above. All text goes through textContent, so that no name can become markup.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, parent) => {
    const node = document.createElementNS(NS, tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    if (parent) parent.append(node);
    return node;
  };
  const html = (tag, name, parent, text) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const digits = (v) => {
    const size = Math.abs(v);
    const places = size >= 99.95 || size === 0 ? 0 : size >= 9.995 ? 1 : size >= 0.0995 ? 2 : 3;
    return v.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: places });
  };
  const units = {
    us: (v) => v < 1e3 ? digits(v) + " \u00b5s" : v < 1e6 ? digits(v / 1e3) + " ms" : digits(v / 1e6) + " s",
    mbps: (v) => digits(v) + " MB/s",
    mb: (v) => digits(v) + " MB",
    percent: (v) => digits(v) + " %",
    rate: (v) => v >= 1e6 ? digits(v / 1e6) + " M/s" : v >= 1e4 ? digits(v / 1e3) + " k/s" : digits(v) + " /s",
  };
  const clock = (s) => s < 120 ? digits(s) + " s"
    : Math.floor(s / 60) + ":" + String(Math.round(s % 60)).padStart(2, "0") + " min";
  // Behind the nines, as many digits as tell them apart.
  const tail = (x) => x <= 1 ? "0 %" : ((1 - 1 / x) * 100).toFixed(Math.max(0, Math.ceil(Math.log10(x)) - 1))
    .replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") + " %";
  const ways = {
    time: { log: false, show: clock },
    tail: { log: true, show: tail },
    rate: { log: false, show: units.rate },
  };

  const linear = (from, to, count) => {
    const rough = (to - from) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const ticks = [];
    for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-6; i++) ticks.push(i * step || 0);
    return ticks;
  };
  const decades = (from, to, room) => {
    const wide = Math.log10(to / from);
    const all = wide > room * 1.2 ? [1] : wide > room * 0.4 ? [1, 3] : [1, 2, 5];
    const every = Math.max(1, Math.ceil(wide / room));
    const ticks = [];
    for (let p = Math.floor(Math.log10(from)); p <= Math.ceil(Math.log10(to)); p++)
      if (p % every === 0) for (const m of all) {
        const v = m * 10 ** p;
        if (v >= from * 0.999 && v <= to * 1.001) ticks.push(v);
      }
    return ticks.length > 1 ? ticks : linear(from, to, 4);
  };
  const scale = (log, from, to, start, end) => {
    const f = log ? Math.log10 : (v) => v;
    const a = f(from), span = f(to) - a || 1;
    return (v) => start + ((f(v) - a) / span) * (end - start);
  };
  const nearest = (points, x) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
  };

  const draw = (figure, chart) => {
    const way = ways[chart.x], unit = units[chart.y];
    const hidden = new Set();
    let log = chart.log;
    const legend = html("div", "legend", figure);
    const box = html("div", "plot", figure);
    const tip = html("div", "tip", figure);
    tip.hidden = true;
    const key = (series, parent) => {
      const mark = html("span", series.dash ? "key dash" : "key", parent);
      mark.style.borderColor = `var(--s${series.color})`;
      mark.setAttribute("aria-hidden", "true");
    };
    for (const series of chart.series) {
      const button = html("button", "", legend);
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      key(series, button);
      html("span", "", button, series.name);
      button.onclick = () => {
        const hide = !hidden.delete(series);
        if (hide) hidden.add(series);
        button.setAttribute("aria-pressed", String(!hide));
        render();
      };
    }
    const mode = html("button", "mode", figure);
    mode.type = "button";
    mode.title = "Switch between a logarithmic and a linear scale";
    mode.onclick = () => { log = !log; render(); };

    const render = () => {
      tip.hidden = true;
      mode.textContent = log ? "log" : "linear";
      const width = Math.max(260, box.clientWidth), height = chart.wide ? 300 : 230;
      const shown = chart.series.filter((s) => !hidden.has(s) && s.points.length);
      const points = shown.flatMap((s) => s.points);
      box.replaceChildren();
      const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "img" }, box);
      svg.setAttribute("aria-label", chart.title + ". Left and right arrow keys read the values.");
      if (!points.length) {
        make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, svg).textContent = "nothing to show";
        return;
      }
      let left = Infinity, right = -Infinity, top = 0, least = Infinity;
      for (const [x, y] of points) {
        left = Math.min(left, x); right = Math.max(right, x); top = Math.max(top, y);
        if (y > 0) least = Math.min(least, y);
      }
      if (chart.x !== "tail") left = 0;
      if (right <= left) right = left + 1;
      if (!Number.isFinite(least)) least = 1;
      const bottom = log ? Math.min(least, top || 1) * 0.8 : 0;
      top = (top || 1) * (log ? 1.25 : 1.06);
      const yTicks = log ? decades(bottom, top, 5) : linear(bottom, top, 5);
      const frame = { left: 14 + 6.6 * Math.max(...yTicks.map((v) => unit(v).length)), top: 10, bottom: height - 24, right: width - 14 };
      const px = scale(way.log, left, right, frame.left, frame.right);
      const exact = scale(log, bottom, top, frame.bottom, frame.top);
      const py = (v) => exact(Math.max(v, bottom));

      if (chart.warm_up_s > 0 && chart.x === "time") {
        const end = Math.min(px(chart.warm_up_s), frame.right);
        make("rect", { class: "band", x: frame.left, y: frame.top, width: Math.max(0, end - frame.left), height: frame.bottom - frame.top }, svg);
        make("text", { x: frame.left + 5, y: frame.bottom - 6 }, svg).textContent = "warm-up";
      }
      for (const v of yTicks) {
        make("line", { class: "grid", x1: frame.left, x2: frame.right, y1: py(v), y2: py(v) }, svg);
        make("text", { x: frame.left - 7, y: py(v) + 4, "text-anchor": "end" }, svg).textContent = unit(v);
      }
      const xTicks = way.log ? decades(left, right, 20).filter((v) => Math.log10(v) % 1 === 0) : linear(left, right, Math.min(10, width / 90));
      let free = -Infinity;
      for (const v of xTicks) {
        const text = way.show(v), half = text.length * 3.4;
        make("line", { class: "grid", x1: px(v), x2: px(v), y1: frame.top, y2: frame.bottom }, svg);
        const middle = Math.min(px(v), width - half);
        // The nines grow long: where one would stand on the last, it is left out.
        if (middle - half < free) continue;
        free = middle + half + 6;
        make("text", { x: middle, y: frame.bottom + 17, "text-anchor": "middle" }, svg).textContent = text;
      }
      make("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }, svg);
      for (const series of shown) {
        const color = `stroke:var(--s${series.color});fill:none`;
        const at = ([x, y]) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
        if (!series.dots) {
          const line = make("path", { d: "M" + series.points.map(at).join("L"), style: color, "stroke-width": 2, "stroke-linejoin": "round" }, svg);
          if (series.dash) line.setAttribute("stroke-dasharray", "5 4");
        }
        if (series.dots || series.points.length === 1)
          for (const [x, y] of series.points)
            make("circle", { cx: px(x), cy: py(y), r: 4.5, style: `fill:var(--s${series.color})` }, svg);
      }
      hover(svg, shown, { frame, px, py, width });
    };

    const hover = (svg, shown, { frame, px, py, width }) => {
      const group = make("g", {}, svg);
      const all = [...new Set(shown.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
      let index = -1;
      const show = (at) => {
        index = Math.max(0, Math.min(all.length - 1, at));
        const x = all[index];
        group.replaceChildren();
        tip.replaceChildren();
        make("line", { class: "cross", x1: px(x), x2: px(x), y1: frame.top, y2: frame.bottom }, group);
        html("div", "", tip, way.show(x));
        for (const series of shown) {
          const point = nearest(series.points, x);
          // A series that is not there at this place is not told for it.
          if (Math.abs(px(point[0]) - px(x)) > 12) continue;
          make("circle", { cx: px(point[0]), cy: py(point[1]), r: 4, style: `fill:var(--s${series.color});stroke:var(--card);stroke-width:2` }, group);
          const row = html("div", "", tip);
          key(series, row);
          html("span", "", row, series.name);
          html("b", "", row, unit(point[1]));
        }
        tip.hidden = false;
        const place = box.offsetLeft + px(x), room = figure.clientWidth;
        tip.style.top = box.offsetTop + 12 + "px";
        tip.style.left = (px(x) < width / 2 ? Math.min(place + 14, room - tip.offsetWidth - 4) : Math.max(4, place - 14 - tip.offsetWidth)) + "px";
      };
      const hide = () => { group.replaceChildren(); tip.hidden = true; };
      svg.onpointermove = (event) => {
        const x = ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth) * width;
        let best = 0, low = 0, high = all.length - 1;
        while (low <= high) {
          const middle = (low + high) >> 1;
          if (px(all[middle]) <= x) { best = middle; low = middle + 1; } else high = middle - 1;
        }
        if (best + 1 < all.length && px(all[best + 1]) - x < x - px(all[best])) best++;
        show(best);
      };
      svg.onpointerleave = hide;
      svg.onblur = hide;
      svg.onkeydown = (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) { event.preventDefault(); show(index + step); }
      };
    };
    let last = 0;
    new ResizeObserver(() => { if (box.clientWidth !== last) { last = box.clientWidth; render(); } }).observe(box);
  };

  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const chart of charts)
    for (const figure of document.querySelectorAll("[data-chart]"))
      if (figure.dataset.chart === chart.id) draw(figure, chart);
})();
