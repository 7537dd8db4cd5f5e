"use strict";
// Draws each chart from the JSON beside it, in the colours of the page's style, and again when these change.
(() => {
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const charts = new Map();

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Names of colours stand under keys that end in "color" or "colorscale" and nowhere else.
  const painted = (value, key) => {
    if (Array.isArray(value)) return value.map((item) => painted(item, key));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, painted(item, name)]));
    }
    return typeof value === "string" && /color(scale)?$/.test(key) ? color(value) || value : value;
  };

  const axis = (given) => ({
    automargin: true, gridcolor: "grid", linecolor: "line", zerolinecolor: "line", fixedrange: true, ...given,
    title: { standoff: 10, ...given.title },
  });

  const layoutOf = (chart, given) => {
    const axes = Object.entries(given).filter(([name]) => /^[xy]axis/.test(name));
    const narrow = chart.clientWidth < 600;
    return painted({
      height: 420, autosize: true, dragmode: false, paper_bgcolor: "back", plot_bgcolor: "back",
      margin: { l: 50, r: 16, t: 16, b: 50 },
      font: { family: "system-ui, sans-serif", size: narrow ? 12 : 14, color: "text" },
      hoverlabel: { bgcolor: "panel", bordercolor: "line", align: "left", font: { color: "text" } },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", traceorder: "normal" },
      ...given, ...Object.fromEntries(axes.map(([name, value]) => [name, axis(value)])),
    }, "");
  };

  const draw = (chart) => {
    const { figure, axes, groups } = charts.get(chart);
    const data = figure.data.map((trace) => ({ ...trace }));
    const layout = { ...figure.layout };
    for (const select of document.querySelectorAll(`select[data-for="${chart.id}"]`)) {
      const letter = select.dataset.axis;
      const chosen = axes[Number(select.value)];
      layout[`${letter}axis`] = chosen.layout;
      data.forEach((trace, i) => { trace[letter] = groups[i].map((row) => chosen.values[row]); });
    }
    window.Plotly.react(chart, painted(data, ""), layoutOf(chart, layout), config);
  };

  const drawAll = () => charts.forEach((_, chart) => draw(chart));

  for (const block of document.querySelectorAll("script[data-chart]")) {
    const chart = document.getElementById(block.dataset.chart);
    charts.set(chart, JSON.parse(block.textContent));
    draw(chart);
  }
  for (const select of document.querySelectorAll("select[data-for]")) {
    select.addEventListener("change", () => draw(document.getElementById(select.dataset.for)));
  }
  dark.addEventListener("change", drawAll);
  document.documentElement.dataset.drawn = String(charts.size);
})();
