// Keeps the board moving. The page is complete without it; here numbers change, nothing is decided.
"use strict";
(() => {
  const page = document.body.dataset;
  const find = (selector, from = document) => from.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const format = new Intl.NumberFormat("en-US");
  const words = find("#words")?.dataset ?? {};
  const link = find("#link");
  // By how much the server's clock is ahead of this one.
  let ahead = Number(page.now) - Date.now();
  let phase = { name: page.phase, from: Number(page.from), to: Number(page.to) };

  const say = (element, text) => {
    if (element && element.textContent !== text) element.textContent = text;
  };
  const tell = (state) => {
    link.dataset.state = state;
    say(find("span", link), link.dataset[state]);
  };

  // A figure runs to its new value; the last one wins.
  const running = new Map();
  const count = (element, to) => {
    if (!element) return;
    const from = Number(element.textContent.replaceAll(",", ""));
    if (running.get(element)?.to === to || (!running.has(element) && from === to)) return;
    if (still.matches || document.hidden || Number.isNaN(from)) {
      running.delete(element);
      return say(element, format.format(to));
    }
    const run = { to };
    running.set(element, run);
    const began = performance.now();
    const step = (now) => {
      if (running.get(element) !== run) return;
      const part = Math.min(1, Math.max(0, now - began) / 600);
      const eased = 1 - (1 - part) ** 3;
      say(element, format.format(Math.round(from + (to - from) * eased)));
      if (part < 1) requestAnimationFrame(step);
      else running.delete(element);
    };
    requestAnimationFrame(step);
  };

  // These must add up at every moment: they do not run.
  const put = (selector, number) => say(find(selector), format.format(number));

  const share = (part, whole) => (part && whole ? Math.min(1000, Math.max(4, (part * 1000) / whole)) : 0);
  const bar = (rect, width, x) => {
    rect?.setAttribute("width", width);
    if (x !== undefined) rect?.setAttribute("x", x);
  };

  const showFunnel = (seen) => {
    for (const row of all("#funnel li")) {
      const step = seen.funnel[row.dataset.state] ?? { here: 0, reached: 0 };
      row.classList.toggle("none", step.here === 0);
      row.hidden = row.classList.contains("exit") && step.here === 0;
      bar(find(".reached", row), share(step.reached, seen.signups));
      bar(find(".here", row), share(step.here, seen.signups));
      count(find("b", row), step.here);
    }
  };

  const showMoney = (money) => {
    const into = ["fees", "guarantee", "carry", "moving_in"];
    const out = ["prizes", "refunds", "rake", "returned", "moving_out", "left"];
    const sum = (names) => names.reduce((sum, name) => sum + money[name], 0);
    const whole = Math.max(sum(into), sum(out));
    for (const names of [into, out]) {
      let x = 0;
      for (const name of names) {
        const width = share(money[name], whole);
        bar(find(`[data-bar=${name}]`), width, x);
        x += width;
        const part = find(`[data-part=${name}]`);
        part.hidden = money[name] === 0;
        say(find("b", part), format.format(money[name]));
      }
    }
    say(find("#sign"), sum(into) === sum(out) ? "=" : "≠");
    put("#total-in", sum(into));
    put("#total-out", sum(out));
    put("#prizes", money.prizes);
    put("#to-pay", money.to_pay);
  };

  const ago = (millis) => {
    const seconds = Math.floor(Math.max(0, millis) / 1000);
    if (seconds < 60) return `${seconds} ${words.s}`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} ${words.min}`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} ${words.h}`;
    return `${Math.floor(seconds / 86400)} ${words.d}`;
  };

  let lines = new Map();
  const showFeed = (feed) => {
    const list = find("#feed");
    const next = new Map();
    for (const move of feed) {
      const key = `${move.user} ${move.state} ${move.at_ms}`;
      let line = lines.get(key);
      if (!line) {
        const said = find(`#funnel [data-state=${move.state}]`).dataset.said;
        line = document.createElement("li");
        line.dataset.state = move.state;
        line.dataset.at = move.at_ms;
        const who = document.createElement("b");
        who.textContent = move.user;
        const what = document.createElement("span");
        what.append(who, ` ${said.replace("{}", format.format(move.prize ?? 0))}`);
        line.append(document.createElement("i"), what, document.createElement("time"));
        line.firstChild.ariaHidden = "true";
        if (lines.size) line.className = "new";
      }
      next.set(key, line);
    }
    if ([...next.keys()].join() !== [...lines.keys()].join()) list.replaceChildren(...next.values());
    lines = next;
  };

  const marks = { holds: "✓", broken: "✕", nothing: "·", not_kept: "–", unknown: "?" };
  const showChecks = (checks) => {
    if (!checks) return;
    let broken = false;
    for (const { name, standing, checked, evidence } of checks.verdicts) {
      const row = find(`#proofs [data-name=${name}]`);
      if (!row) continue;
      broken ||= standing === "broken";
      row.dataset.standing = standing;
      say(find("i", row), marks[standing]);
      say(find("em", row), evidence ?? "");
      const looked = standing === "holds" || standing === "broken";
      say(find(":scope > b", row), looked ? words.checked.replace("{}", format.format(checked)) : words[standing]);
    }
    const verdict = checks.unchecked ? "unknown" : broken ? "broken" : "holds";
    find("#verdict").className = `verdict ${verdict}`;
    say(find("#verdict"), words[checks.unchecked ?? verdict]);
    say(find("#checked"), new Date(checks.at_ms).toISOString().slice(11, 19));
  };

  const showPhase = (seen) => {
    phase = { name: seen.phase, from: seen.phase_from_ms, to: seen.phase_to_ms ?? 0 };
    page.phase = phase.name;
    const stops = all("#line li");
    const at = stops.findIndex((stop) => stop.dataset.stop === phase.name);
    // A cancel has a timeline of its own.
    if (at < 0) return location.reload();
    stops.forEach((stop, index) => {
      stop.className = index < at ? "past" : index > at ? "next" : "now";
      if (index === at) stop.setAttribute("aria-current", "step");
      else stop.removeAttribute("aria-current");
      if (index !== at) find("progress", stop).value = index < at ? 1000 : 0;
    });
    say(find("#phase"), find("span", stops[at]).textContent);
  };

  const pad = (number) => String(number).padStart(2, "0");
  const tick = () => {
    if (!page.contest) return;
    const now = Date.now() + ahead;
    const progress = find("#line .now progress");
    const over = phase.name === "closed" || phase.name === "cancelled";
    if (phase.to) {
      const left = Math.ceil(Math.max(0, phase.to - now) / 1000);
      const [h, m, s] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
      say(find("#clock"), h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`);
      if (progress) progress.value = share(Math.max(0, now - phase.from), phase.to - phase.from);
    } else {
      say(find("#clock"), "–");
      if (progress) progress.value = over ? 1000 : 500;
    }
    find(".clock dd").hidden = !phase.to;
    for (const line of lines.values()) say(line.lastChild, ago(now - line.dataset.at));
  };

  const show = (seen) => {
    ahead = seen.server_ms - Date.now();
    // Nobody asked for this contest by name: the newest is followed.
    if (page.picked !== "true" && seen.newest && seen.newest !== page.newest) return location.reload();
    if (!seen.contest_id) return;
    showPhase(seen);
    count(find("#pool"), seen.pool);
    say(find("#pool-is"), find("#pool-is").dataset[seen.is_frozen ? "frozen" : "live"]);
    count(find("#signups"), seen.signups);
    count(find("#finishers"), seen.finishers);
    if (seen.finishers) count(find("#estimate"), seen.estimated_prize);
    else say(find("#estimate"), "–");
    showFunnel(seen);
    showMoney(seen.money);
    showFeed(seen.feed);
    showChecks(seen.checks);
    tick();
  };

  // The stream. A browser comes back by itself while the server is away, but not after an answer
  // that is no stream; and a stream that has fallen silent is dead.
  let stream;
  let heard = Date.now();
  const open = () => {
    stream?.close();
    heard = Date.now();
    stream = new EventSource(`/board/events${page.contest ? `?contest=${page.contest}` : ""}`);
    stream.onmessage = (event) => {
      heard = Date.now();
      tell("live");
      show(JSON.parse(event.data));
    };
    stream.onerror = () => tell("away");
  };
  setInterval(() => {
    const silent = Date.now() - heard;
    if (silent > 8000) tell("away");
    if (silent > 12000 || (stream.readyState === EventSource.CLOSED && silent > 2000)) open();
  }, 1000);
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => event.persisted && open());

  find("#contest")?.addEventListener("change", (event) => event.target.form.submit());
  setInterval(tick, 200);
  tick();
  open();
})();
