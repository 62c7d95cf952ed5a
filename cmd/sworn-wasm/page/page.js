"use strict";
(() => {
  const byID = (id) => document.getElementById(id);
  const limit = 64 * 1024 * 1024, most = 1100;
  // The report is made by code that emits no script and no attribute that could hold one.
  const policy = window.trustedTypes ? trustedTypes.createPolicy("sworn-report", { createHTML: (s) => s }) : { createHTML: (s) => s };
  const began = performance.now();
  let files = [], ready = false, answer = null, turn = 0;

  const bytes = (text) => Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const say = (text, state) => {
    byID("status").textContent = text;
    byID("status").className = state || "";
  };
  const complain = (text) => {
    byID("problem").textContent = text;
    byID("problem").hidden = text === "";
  };

  // Folders are read to their leaves; nothing is followed out of them.
  const entries = async (entry, path, out) => {
    if (out.length > most) return;
    if (entry.isFile) {
      const f = await new Promise((yes, no) => entry.file(yes, no));
      out.push({ path: path + f.name, file: f });
    } else if (entry.isDirectory) {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((yes, no) => reader.readEntries(yes, no));
        if (some.length === 0) break;
        for (const e of some) await entries(e, path + entry.name + "/", out);
      }
    }
  };

  const add = async (list) => {
    complain("");
    if (files.length + list.length > most) {
      complain("More than " + most + " files: drop fewer at a time.");
      return;
    }
    for (const { path, file } of list) {
      if (file.size > limit) {
        complain(file.name + " has more than 64 MiB, and nothing that is read here is as large.");
        continue;
      }
      try {
        const data = new Uint8Array(await file.arrayBuffer());
        files = files.filter((f) => f.path !== path);
        files.push({ path, data, role: "" });
      } catch (e) {
        complain(file.name + " cannot be read.");
      }
    }
    show();
  };

  const size = (n) => (n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KiB" : (n / 1048576).toFixed(1) + " MiB");

  const list = () => {
    const body = byID("list").tBodies[0];
    body.replaceChildren();
    byID("list").hidden = files.length === 0;
    if (!ready) return;
    swornKinds(files).forEach((k, i) => {
      const row = body.insertRow();
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = files[i].path;
      row.append(name);
      const what = row.insertCell();
      if (k.kind === "root without a role" || files[i].role) {
        const select = document.createElement("select");
        select.setAttribute("aria-label", "What " + files[i].path + " is trusted for");
        for (const r of [""].concat(swornRoles)) {
          const o = document.createElement("option");
          o.value = r;
          o.textContent = r === "" ? "choose what it is trusted for" : "root: " + r;
          o.selected = files[i].role === r;
          select.append(o);
        }
        select.addEventListener("change", () => {
          files[i].role = select.value;
          show();
        });
        what.append(select);
      } else {
        what.textContent = k.kind + (k.role ? " (" + k.role.split("/")[0] + ")" : "");
      }
      row.insertCell().textContent = size(files[i].data.length);
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", "Remove " + files[i].path);
      remove.addEventListener("click", () => {
        files.splice(i, 1);
        show();
      });
      row.insertCell().append(remove);
    });
  };

  const fit = () => {
    const frame = byID("report");
    if (!frame.hidden && frame.contentDocument && frame.contentDocument.documentElement) {
      frame.style.setProperty("height", frame.contentDocument.documentElement.scrollHeight + 4 + "px");
    }
  };

  const show = () => {
    list();
    const mine = ++turn;
    answer = null;
    byID("save").hidden = byID("report").hidden = true;
    if (!ready) return;
    if (files.length === 0) {
      say("Nothing was given yet.");
      return;
    }
    say("Verifying.");
    // The words above are painted before the work begins.
    setTimeout(() => {
      if (mine !== turn) return;
      const start = performance.now();
      const got = swornVerify({ files, nonce: byID("nonce").value, now: Date.now() });
      document.documentElement.dataset.took = String(performance.now() - start);
      if (got.error) {
        say("No verdict.");
        complain(got.error + (got.hint ? ". " + got.hint + "." : ""));
        return;
      }
      answer = got;
      say(got.headline, got.trusted ? "trusted" : "refused");
      const frame = byID("report");
      frame.hidden = byID("save").hidden = false;
      frame.srcdoc = policy.createHTML(got.html);
    }, 0);
  };

  const save = (text, type, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  byID("files").addEventListener("change", (e) => {
    add([...e.target.files].map((file) => ({ path: file.name, file })));
    e.target.value = "";
  });
  byID("folder").addEventListener("change", (e) => {
    add([...e.target.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
    e.target.value = "";
  });
  byID("nonce").addEventListener("change", show);
  byID("clear").addEventListener("click", () => {
    files = [];
    byID("nonce").value = "";
    complain("");
    show();
    byID("files").focus();
  });
  byID("save-html").addEventListener("click", () => answer && save(answer.html, "text/html", "report.html"));
  byID("save-json").addEventListener("click", () => answer && save(answer.json, "application/json", "report.json"));
  byID("report").addEventListener("load", fit);
  addEventListener("resize", fit);

  addEventListener("dragover", (e) => {
    e.preventDefault();
    byID("drop").classList.add("over");
  });
  addEventListener("dragleave", () => byID("drop").classList.remove("over"));
  addEventListener("drop", async (e) => {
    e.preventDefault();
    byID("drop").classList.remove("over");
    const out = [], roots = [...e.dataTransfer.items].map((i) => (i.webkitGetAsEntry ? i.webkitGetAsEntry() : null));
    const plain = [...e.dataTransfer.files];
    try {
      if (roots.some((r) => r)) for (const r of roots) r && (await entries(r, "", out));
      else for (const file of plain) out.push({ path: file.name, file });
    } catch (err) {
      complain("What was dropped cannot be read.");
    }
    add(out);
  });

  window.swornAnswer = () => answer;
  window.swornReady = (version) => {
    const sample = (id) => bytes(byID(id).textContent);
    const wrong = swornSelfTest({ record: sample("sample-record"), policy: sample("sample-policy"), now: Date.now() });
    if (wrong) {
      complain("The verifier does not work in this browser: " + wrong);
      say("No verdict.");
      return;
    }
    ready = true;
    byID("version").textContent = version;
    document.documentElement.dataset.started = String(performance.now() - began);
    show();
  };

  (async () => {
    const packed = bytes(byID("wasm").textContent);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const code = await new Response(stream).arrayBuffer();
    const go = new Go();
    const { instance } = await WebAssembly.instantiate(code, go.importObject);
    byID("wasm").remove();
    await go.run(instance);
    ready = false;
    complain("The verifier has ended. Load the page again.");
  })().catch((e) => complain("The verifier cannot start in this browser: " + e));
})();
