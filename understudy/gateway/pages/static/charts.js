// The charts of the overview: drawn by uPlot from columns that the page holds and the stream renews.
"use strict";
(() => {
  const NONE = "–";
  const holder = document.getElementById("charts-data");
  if (!holder) return;
  let data = JSON.parse(holder.textContent);
  let pick = 0; // which cap is shown
  const drawn = new Map(); // by name: { plot, spec, values }

  const colour = (() => {
    const probe = document.body.appendChild(document.createElement("i"));
    return (name) => {
      probe.className = `probe c-${name}`;
      return getComputedStyle(probe).color;
    };
  })();
  const faint = (name) => colour(name).replace(/^rgb\((.*)\)$/, "rgba($1, 0.13)");

  // Numbers with their units.
  const trimmed = (value, digits) => String(Number(value.toPrecision(digits)));
  const short = (value) => (value >= 1e6 ? `${trimmed(value / 1e6, 3)} M` : value >= 1e4 ? `${trimmed(value / 1e3, 3)} k` : trimmed(value, 4));
  const seconds = (value) => (value < 1 ? `${trimmed(value * 1000, 3)} ms` : `${trimmed(value, 3)} s`);
  const money = (value) => (value === 0 ? "$0" : value >= 1 ? `$${value.toFixed(2)}` : `$${value.toFixed(Math.min(8, 2 - Math.floor(Math.log10(value)))).replace(/0+$/, "")}`);
  const inUnit = (unit) => (unit === "dollars" ? money : short);
  const known = (format) => (value) => (value == null ? NONE : format(value));
  const moment = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  const ends = () => data.times.map((time) => Math.min(time + data.step, Math.max(data.now, time + 1)));
  const line = (label, name, more) => ({ label, name, stroke: () => colour(name), width: 1.6, points: { show: false }, ...more });
  const bars = (label, name) => ({ label, name, width: 0, fill: () => colour(name), stroke: () => colour(name), points: { show: false }, paths: uPlot.paths.bars({ size: [0.86, 40], align: 1, gap: 0 }) });

  // Of each chart: its columns as they are drawn, its series, and its values as they are told.
  const charts = {
    spend() {
      const cap = data.spend[Math.min(pick, data.spend.length - 1)];
      const format = inUnit(cap.unit);
      const series = [line("Spent", "local", { fill: () => faint("local") })];
      const columns = [cap.spent];
      if (cap.allowed) {
        series.unshift(line("Allowed", "quiet", { dash: [5, 4], width: 1.2 }));
        columns.unshift(cap.allowed);
      }
      return { times: ends(), columns, told: columns, series, format };
    },
    answers() {
      const { local, cloud, refused } = data.answers;
      const both = local.map((value, place) => value + cloud[place]);
      const all = both.map((value, place) => value + refused[place]);
      return {
        times: data.times, bars: true, format: short, inAll: true,
        columns: [all, both, local], told: [refused, cloud, local],
        series: [bars("Refused", "refused"), bars("Cloud", "cloud"), bars("Local", "local")],
      };
    },
    first: () => latency(data.first),
    whole: () => latency(data.whole),
  };
  // Of a line, the points that have no neighbour and would not be seen.
  const alone = (plot, series) => {
    const column = plot.data[series];
    return [...column.keys()].filter((place) => column[place] != null && column[place - 1] == null && column[place + 1] == null);
  };
  // Round times on a scale of logarithms: 1, 2 and 5 of each decade, or fewer where those are many.
  function decades(plot, axis, low, high) {
    const round = (steps) => {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
        for (const step of steps) {
          const value = Number((step * 10 ** power).toPrecision(1));
          if (value >= low && value <= high) found.push(value);
        }
      }
      return found;
    };
    const fine = [round([1, 2, 5]), round([1, 3]), round([1])].find((found) => found.length <= 5);
    return fine && fine.length ? fine : [low, high];
  }
  // An axis as wide as its longest label, which an amount of money may make long.
  function roomy(plot, labels, number, round) {
    const axis = plot.axes[number];
    if (round > 1) return axis._size;
    plot.ctx.font = axis.font[0];
    const widest = Math.max(0, ...(labels ?? []).map((label) => plot.ctx.measureText(label).width));
    return Math.max(58, Math.ceil(widest / devicePixelRatio) + 16);
  }
  function latency(found) {
    const columns = [found.p99, found.p95, found.p50];
    const series = [line("99 %", "quiet", { dash: [2, 3], width: 1.2 }), line("95 %", "middle"), line("Median", "local")];
    for (const each of series) each.points = { show: true, filter: alone, size: 4, fill: each.stroke };
    return { times: data.times, columns, told: columns, series, format: seconds, log: true };
  }

  function options(box, spec) {
    const axis = { stroke: () => colour("quiet"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width: box.clientWidth, height: 190, padding: [8, 18, 0, 0], legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { show: !spec.bars, size: 6 } },
      scales: {
        x: { time: true, range: () => [data.times[0], data.times.at(-1) + data.step] },
        y: spec.log
          ? { distr: 3, range: (plot, low, high) => (low > 0 ? [low / 1.3, high * 1.3] : [0.01, 10]) }
          : { range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: data.span === "hour" ? 26 : 42, values: [[86400, "{D} {MMM}", null, null, null, null, null, null, 1], [3600, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1]] },
        { ...axis, size: roomy, space: 40, incrs: spec.bars ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6] : undefined, splits: spec.log ? decades : undefined, filter: (plot, splits) => splits, values: (plot, splits) => splits.map(spec.format) },
      ],
      series: [{}, ...spec.series],
      hooks: { setCursor: [(plot) => legend(box.closest("figure").dataset.chart, plot.cursor.idx)] },
    };
  }

  function legend(name, hovered) {
    const entry = drawn.get(name);
    if (!entry) return;
    const { spec, words } = entry;
    let place = hovered;
    const inAll = place == null && spec.inAll;
    if (place == null) {
      place = spec.times.length - 1;
      while (place > 0 && spec.told.every((column) => column[place] == null)) place -= 1;
    }
    const parts = [...spec.series].reverse().map((series, number) => {
      const column = spec.told[spec.told.length - 1 - number];
      const value = inAll ? column.reduce((sum, each) => sum + each, 0) : column[place];
      const part = document.createElement("span");
      part.className = `c-${series.name}`;
      const figure = document.createElement("b");
      figure.textContent = known(spec.format)(value);
      part.append(`${series.label} `, figure);
      return part;
    });
    const time = document.createElement("time");
    time.textContent = inAll ? "in all" : hovered == null ? "latest" : moment.format(new Date(spec.times[place] * 1000));
    words.replaceChildren(...parts, time);
  }

  function describe(figure, spec) {
    const last = (column) => [...column].reverse().find((value) => value != null);
    const parts = [...spec.series].reverse().map((series, number) => `${series.label}: ${known(spec.format)(last(spec.told[spec.told.length - 1 - number]))}`);
    const plot = figure.querySelector(".plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${figure.querySelector("h2").textContent}, last ${data.span}. Latest: ${parts.join(", ")}`);
    const empty = spec.told.every((column, place) => spec.series[place].label === "Allowed" || column.every((value) => !value));
    let note = plot.querySelector(".nothing");
    if (!note) {
      note = document.createElement("p");
      note.className = "nothing";
      plot.append(note);
    }
    note.textContent = empty ? (figure.dataset.chart === "spend" ? "Nothing spent" : "No questions") : "";
  }

  function draw(figure, afresh) {
    const name = figure.dataset.chart;
    const box = figure.querySelector(".plot");
    const spec = charts[name]();
    const old = drawn.get(name);
    const columns = [spec.times, ...spec.columns];
    if (old && !afresh && old.spec.series.length === spec.series.length) {
      old.spec = spec;
      old.plot.setData(columns);
    } else {
      old?.plot.destroy();
      const entry = { spec, words: figure.querySelector(".legend") };
      entry.plot = new uPlot(options(box, spec), columns, box);
      drawn.set(name, entry);
    }
    legend(name, null);
    describe(figure, spec);
  }

  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const redraw = (afresh) => figures.forEach((figure) => draw(figure, afresh));

  // Which cap is looked at.
  const label = document.querySelector(".pick");
  const choice = label.querySelector("select");
  function offer() {
    const labels = data.spend.map((cap) => cap.label);
    label.hidden = labels.length < 2;
    document.getElementById("only-cap").textContent = labels.length === 1 ? labels[0] : "";
    if (labels.join("\n") === [...choice.options].map((each) => each.text).join("\n")) return;
    choice.replaceChildren(...labels.map((text) => new Option(text)));
    choice.selectedIndex = pick = 0;
  }
  choice.addEventListener("change", () => {
    pick = choice.selectedIndex;
    draw(figures.find((figure) => figure.dataset.chart === "spend"), true);
  });

  offer();
  redraw(true);
  document.getElementById("live").addEventListener("charts", (event) => {
    data = JSON.parse(event.detail.data);
    offer();
    redraw(false);
  });
  document.addEventListener("theme", () => redraw(true));
  new ResizeObserver(() => {
    for (const { plot } of drawn.values()) {
      const width = plot.root.parentElement.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: 190 });
    }
  }).observe(document.getElementById("charts"));
})();
