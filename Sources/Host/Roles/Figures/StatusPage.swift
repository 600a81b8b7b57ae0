/// The page that `/` of ``MetricsServer`` is: it asks for `/status` once a second and draws what
/// comes. It needs nothing from anywhere else.
enum StatusPage {
  static let html = """
    <!DOCTYPE html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>multifd</title>
    <style>
    :root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
    body { max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem }
    h1 { font-size: 1.25rem; margin: 0 } h2 { font-size: 0.9rem; font-weight: 600; margin: 0 0 0.2rem }
    .facts { display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; margin: 0.6rem 0 1.2rem }
    .facts b { display: block; font-size: 1.4rem; font-weight: 600 } .facts span { opacity: 0.7 }
    .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1.2rem }
    svg { width: 100%; height: 7rem; display: block } svg line { stroke: currentColor; opacity: 0.2 }
    svg text { font-size: 11px; fill: currentColor; opacity: 0.7 }
    path { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke }
    table { border-collapse: collapse; width: 100%; margin-top: 1.2rem; font-variant-numeric: tabular-nums }
    th, td { text-align: right; padding: 0.2rem 0.6rem; border-bottom: 1px solid #8884 }
    th:first-child, td:first-child { text-align: left }
    .bad { color: #c33 }
    </style>
    <h1 id="title">multifd</h1>
    <div class="facts" id="facts"></div>
    <div class="charts" id="charts"></div>
    <table id="channels"></table>
    <script>
    "use strict";
    const $ = id => document.getElementById(id), series = {}, most = 300;
    const bytes = n => { const u = ["B", "KiB", "MiB", "GiB", "TiB"]; let i = 0;
      while (n >= 1024 && i < 4) { n /= 1024; i++ } return (i ? n.toFixed(1) : Math.round(n)) + " " + u[i] };
    const seconds = n => n < 1 ? (n * 1000).toFixed(n < 0.01 ? 1 : 0) + " ms" : n.toFixed(1) + " s";
    const el = (tag, text, parent) => { const e = document.createElement(tag); e.textContent = text;
      if (parent) parent.append(e); return e };
    function add(name, value) { (series[name] = series[name] || []).push(value);
      if (series[name].length > most) series[name].shift() }
    function chart(title, lines, unit) {
      const box = document.createElement("section"); el("h2", title, box);
      const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
      svg.setAttribute("viewBox", "0 0 600 110"); svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("role", "img"); svg.setAttribute("aria-label", title);
      const top = Math.max(...lines.flatMap(l => series[l.name] || [0]), 1e-9);
      const base = document.createElementNS(ns, "line");
      for (const [k, v] of Object.entries({ x1: 0, x2: 600, y1: 105, y2: 105 })) base.setAttribute(k, v);
      svg.append(base);
      for (const l of lines) {
        const s = series[l.name] || [], p = document.createElementNS(ns, "path");
        p.setAttribute("stroke", l.color);
        p.setAttribute("d", s.map((v, i) => (i ? "L" : "M") + (600 - (s.length - 1 - i) * 600 / (most - 1)).toFixed(1)
          + " " + (105 - 95 * v / top).toFixed(1)).join(""));
        svg.append(p);
      }
      box.append(svg);
      const key = el("div", "", box);
      for (const l of lines) { const k = el("span", l.label + " " + unit((series[l.name] || [0]).at(-1)) + "   ", key);
        k.style.color = l.color }
      el("span", "top " + unit(top), key).style.opacity = 0.6;
      return box;
    }
    let last = null;
    function show(s) {
      const now = Date.now() / 1000, facts = [["role", s.role], ["phase", s.phase]];
      $("title").textContent = "multifd " + s.version + (s.machine ? ", " + s.machine : "");
      document.title = s.role + ": " + s.phase;
      const sum = k => s.channels.reduce((a, c) => a + c[k], 0), charts = [];
      if (last) { const t = Math.max(s.updated - last.updated, 0.1);
        if (s.updated > last.updated) { add("in", Math.max(0, sum("received") - last.in) / t);
          add("out", Math.max(0, sum("sent") - last.out) / t) } }
      last = { updated: s.updated, in: sum("received"), out: sum("sent") };
      if (s.ram) facts.push(["memory", bytes(s.ram)]);
      if (s.remaining) facts.push(["to come", bytes(s.remaining)]);
      if (s.backends.length) facts.push(["backends", s.backends.join(", ")]);
      const c = s.checkpoints;
      if (c) { const age = Math.max(0, now - c.committed); add("age", age);
        const n = c.pause.counts.reduce((a, b) => a + b, 0);
        if (n) add("pause", c.pause.sum / n);
        facts.push(["last commit", seconds(age) + " ago"], ["checkpoint", c.number]);
        if (n) facts.push(["mean pause", seconds(c.pause.sum / n)]);
        facts.push(["cache", bytes(c["cache-bytes"])]); }
      if (s["failover-ready"] !== undefined) facts.push(["failover", s["failover-ready"] ? "ready" : "not ready"]);
      for (const d of s.disks || []) facts.push(["disk " + d.name, d.state]);
      for (const n of s.nets || []) facts.push(["net " + n.id, n.held + " held, " + n.released + " released"]);
      if (s.strangers) facts.push(["turned away", s.strangers]);
      const f = $("facts"); f.replaceChildren();
      for (const [k, v] of facts) { const d = el("div", "", f); el("b", v, d); el("span", k, d) }
      if (s.error) { const d = el("div", "", f); d.className = "bad"; el("b", s.error, d); el("span", "error", d) }
      if (now - s.updated > 5) { const d = el("div", "", f); d.className = "bad";
        el("b", seconds(now - s.updated), d); el("span", "since it was heard of", d) }
      if (c) charts.push(chart("Age of the last commit", [{ name: "age", label: "age", color: "#c60" }], seconds));
      charts.push(chart("Traffic per second", [{ name: "in", label: "in", color: "#27c" },
        { name: "out", label: "out", color: "#292" }], bytes));
      $("charts").replaceChildren(...charts);
      const t = $("channels"); t.replaceChildren();
      if (s.channels.length) { const h = el("tr", "", t);
        for (const k of ["channel", "in", "out", "payload", "packets", "normal", "duplicate"]) el("th", k, h) }
      for (const x of s.channels) { const r = el("tr", "", t);
        for (const v of [x.id, bytes(x.received), bytes(x.sent), bytes(x.payload), x.packets, x.normal, x.duplicate])
          el("td", v, r) }
    }
    async function tick() {
      try { const s = await (await fetch("/status")).json(); if (s) show(s) }
      catch (e) { document.title = "multifd: gone"; $("title").className = "bad" }
      setTimeout(tick, 1000);
    }
    tick();
    </script>
    </html>

    """
}
