// The upload part of the page of a folder. Files are sent by tus-js-client (tus.min.js); this file has the queue, the
// repetitions, and what the page shows. All texts get into the page as texts, by textContent and attributes.
//
// Nothing is kept in the browser: which uploads are unfinished, the server knows. So a file that is chosen again is
// gone on with also after a reload, after a logout and in another browser, and no logout has anything to clear.

"use strict";

(() => {
  const part = document.getElementById("upload");
  if (!part || !window.tus || !tus.isSupported) return;

  const AT_A_TIME = 3; // files; a browser has six connections to a server
  const PIECE_BYTES = 64 * 1024 * 1024; // of one request: behind a proxy that buffers, a piece is lost at most
  const LEAST_PIECE_BYTES = 512 * 1024; // for a proxy that limits requests: nginx has 1 MiB
  const IN_CREATION_BYTES = 4 * 1024 * 1024; // smaller files are sent with the request that announces them
  const WAITS_S = [1, 2, 4, 8, 15, 30]; // before repetitions; the last one again and again
  const STALLED_S = 60; // without a byte, in the middle of a piece
  const MOST_DONE_ROWS = 50;
  const CHANGED = "The file was changed or removed on this device. Choose it again.";
  const LOGGED_OUT = "If you are logged out, log in in another tab, and try again.";
  const ENDPOINT = new URL(part.dataset.endpoint, location.href).href;

  // --- texts -------------------------------------------------------------------------------------------------------

  // Characters that steer a text or cannot be seen, as in mediacrawl/visible.py.
  const STEERING = new RegExp(
    "[\\0-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f" +
      "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\u{e0001}\\u{e0020}-\\u{e007f}]",
    "gu",
  );

  function visible(text) {
    return text.replace(STEERING, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
  }

  function sizeText(bytes) {
    let unit = 0;
    while (bytes >= (unit ? 999.5 : 1000) && unit < 4) {
      bytes /= 1000;
      unit += 1;
    }
    const digits = !unit || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    return `${bytes.toFixed(digits)}${["", "k", "M", "G", "T"][unit]}B`;
  }

  function timeText(seconds) {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
    if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min left`;
    return `${Math.round(seconds / 3600)} h left`;
  }

  function counted(number, one) {
    return `${number} ${one}${number === 1 ? "" : "s"}`;
  }

  // --- what the server has of unfinished uploads -------------------------------------------------------------------

  // Two files with the same key are taken for the same content. The path is the one that was sent: the server may have
  // replaced some of its characters.
  function keyOf(path, size, modified) {
    return JSON.stringify([path, size, modified]);
  }

  function pathIn(folder, file) {
    return folder ? `${folder}/${file.name}` : file.name;
  }

  // Return the pairs of `Upload-Metadata`.
  function metadataOf(value) {
    const pairs = value.split(",").map((pair) => pair.trim().split(" "));
    return Object.fromEntries(
      pairs.map(([key, encoded]) => [
        key,
        new TextDecoder().decode(Uint8Array.from(atob(encoded || ""), (one) => one.charCodeAt(0))),
      ]),
    );
  }

  function unfinishedOf({ id, path, length, offset, expires, metadata }) {
    const { folder = "", filename = "", lastModified } = metadataOf(metadata);
    const sentAs = [folder, filename].filter(Boolean).join("/");
    const modified = filename && lastModified ? Number(lastModified) : null;
    return {
      uploadUrl: ENDPOINT + encodeURIComponent(id),
      urlStorageKey: keyOf(sentAs, length, modified),
      size: length,
      path,
      sentAs,
      offset,
      expires,
      modified,
    };
  }

  let known = null; // the promise of the last answer

  function readUnfinished() {
    const doneBefore = new Set(doneKeys);
    known = fetch(ENDPOINT, { headers: { Accept: "application/json" }, cache: "no-store" })
      .then((response) => {
        if (!response.ok) throw Object.assign(new Error("no list"), { status: response.status });
        return response.json();
      })
      .then(({ uploads, left_bytes: left, is_buffered: isBuffered }) => {
        const all = uploads.map(unfinishedOf);
        shown("quota").textContent = left === null ? "" : `You may add ${sizeText(left)} more.`;
        shown("buffered").hidden = !isBuffered;
        showUnfinished(all, doneBefore);
        return all;
      });
    known.catch(() => (known = null));
    return known;
  }

  // The storage of tus-js-client: the server has noted each upload already when the client hears of it.
  const serverStorage = {
    findAllUploads: () => known || readUnfinished(),
    findUploadsByFingerprint: (key) =>
      serverStorage.findAllUploads().then((all) => all.filter((one) => one.urlStorageKey === key)),
    addUpload: async (key) => key,
    removeUpload: async () => {},
  };

  // --- one file ----------------------------------------------------------------------------------------------------

  // waiting -> sending -> done, with paused, pausing before a repetition (`retrying`) and failed between them.
  const ACTIVE = new Set(["waiting", "sending", "retrying"]);
  const transfers = new Map(); // by their keys
  const doneKeys = new Set();

  class Transfer {
    constructor(file, folder) {
      this.file = file;
      this.path = pathIn(folder, file);
      this.key = keyOf(this.path, file.size, file.lastModified);
      this.state = "waiting";
      this.message = "";
      this.savedAs = ""; // the name that the file has got, if it is another one
      this.sent = this.accepted = 0; // bytes: handed to the network, and told by the server
      this.attempt = 0; // repetitions since the server has accepted something
      this.isRefused = false;
      this.turn = 0; // of `send`: an earlier one that still waits is over
      this.speed = 0; // bytes in a second
      this.beatSent = 0;
      this.beatAt = this.movedAt = performance.now();
      this.timer = 0;
      this.row = new Row(this);
      this.upload = new tus.Upload(file, {
        endpoint: ENDPOINT,
        metadata: {
          filename: file.name,
          folder,
          lastModified: String(file.lastModified),
        },
        chunkSize: PIECE_BYTES,
        uploadDataDuringCreation: file.size <= IN_CREATION_BYTES,
        retryDelays: null, // see `failed`
        fingerprint: async () => this.key,
        urlStorage: serverStorage,
        onProgress: (sent) => this.moved(sent),
        onAfterResponse: (_request, response) => this.told(response),
        onSuccess: ({ lastResponse }) => this.finished(lastResponse),
        onError: (error) => this.failed(error),
      });
    }

    become(state, message = "") {
      clearTimeout(this.timer);
      this.state = state;
      this.message = message;
      this.speed = 0;
      this.row.show();
      soon();
    }

    // Begin, or go on where the server is.
    async send() {
      this.become("sending");
      const turn = ++this.turn;
      this.beatSent = this.sent;
      this.beatAt = this.movedAt = performance.now();
      let problem = null;
      try {
        if (!(await isReadable(this.file))) problem = { status: 0, line: CHANGED };
        else if (!this.upload.url) await this.find();
      } catch (error) {
        problem = error;
      }
      if (this.state !== "sending" || turn !== this.turn) return; // paused meanwhile
      if (problem) {
        if (problem.line) this.become("failed", problem.line);
        else if (isLogin(problem.status)) this.become("failed", LOGGED_OUT);
        else this.repeat("The server does not answer");
        return;
      }
      // With an endpoint, tus-js-client would begin anew after each error of the first request, also of a server that
      // is only restarting.
      this.upload.options.endpoint = this.upload.url ? null : ENDPOINT;
      this.upload.start();
    }

    // Take over what the server has of this file: from an earlier page, or from a request whose answer was lost.
    async find() {
      const found = await (this.attempt ? readUnfinished() : serverStorage.findAllUploads());
      const mine = found.find((one) => one.urlStorageKey === this.key);
      if (!mine || !isFree(mine.uploadUrl)) return;
      this.upload.resumeFromPreviousUpload(mine);
      showUnfinished(found);
    }

    moved(sent) {
      if (sent !== this.sent) this.movedAt = performance.now();
      this.sent = sent;
      this.row.showProgress();
    }

    told(response) {
      const offset = Number.parseInt(response.getHeader("Upload-Offset"), 10);
      if (Number.isNaN(offset)) return;
      if (offset > this.accepted) this.attempt = 0;
      this.accepted = offset;
    }

    failed(error) {
      const response = error.originalResponse;
      const status = response ? response.getStatus() : 0;
      const isOurs = Boolean(response && response.getHeader("Tus-Resumable"));
      if (status === 413 && !isOurs && this.upload.options.chunkSize > LEAST_PIECE_BYTES) {
        this.upload.options.chunkSize /= 8; // a proxy has refused the piece
        this.upload.options.uploadDataDuringCreation = false;
        this.send();
      } else if ((status === 404 || status === 410) && this.upload.url) {
        this.upload.url = null; // it has expired, or was removed elsewhere
        this.sent = this.accepted = 0;
        known = null;
        this.repeat("The server has lost its beginning");
      } else if (isLogin(status)) {
        this.become("failed", `${lineOf(response)} ${LOGGED_OUT}`.trim());
      } else if (isFinal(status)) {
        this.refused(lineOf(response) || `The server has refused it (${status}).`);
      } else {
        this.repeat(status ? "" : "The server does not answer", retryAfter(response));
      }
    }

    // A creation may be refused because an earlier one, whose answer was lost, has the quota.
    async refused(line) {
      const turn = this.turn;
      try {
        if (!this.upload.url) await readUnfinished().then(() => this.find());
      } catch {
        // The line says enough.
      }
      if (this.state !== "sending" || turn !== this.turn) return;
      if (!this.isRefused && this.upload.url) {
        this.send();
      } else {
        this.sent = this.accepted; // of what was sent with a refused request, nothing is kept
        this.become("failed", line);
      }
      this.isRefused = true;
    }

    repeat(reason, leastS = 0) {
      const wait = Math.max(leastS, WAITS_S[Math.min(this.attempt, WAITS_S.length - 1)]);
      this.attempt += 1;
      this.become("retrying", `${reason || "Interrupted"}: again in ${wait} s`);
      this.timer = setTimeout(() => this.become("waiting"), wait * 1000);
    }

    // Stop the request; what has arrived stays on the server.
    pause() {
      this.upload.abort();
      this.become("paused");
    }

    resume() {
      this.attempt = 0;
      this.become("waiting");
    }

    async remove() {
      const isBegun = this.state !== "waiting" || this.sent > 0;
      this.upload.abort();
      this.end("removed");
      try {
        if (isBegun && !this.upload.url) await readUnfinished().then(() => this.find());
        if (this.upload.url) await tus.Upload.terminate(this.upload.url, { retryDelays: null });
      } catch {
        // It is listed as unfinished.
      }
      reread();
    }

    // The server has the file. It tells the path of the file, which has a number if the name was taken.
    finished(response) {
      const at = response.getHeader("Content-Location");
      const url = at ? new URL(at, location.href) : null;
      if (url && url.origin === location.origin) this.row.link(url);
      doneKeys.add(this.key);
      this.end("done");
      changed();
    }

    end(state) {
      transfers.delete(this.key);
      this.become(state);
    }

    // Once in a second: the speed, and requests that have stalled.
    beat(now) {
      if (this.state !== "sending") return;
      const speed = (1000 * (this.sent - this.beatSent)) / (now - this.beatAt);
      this.speed = this.speed ? 0.7 * this.speed + 0.3 * speed : speed;
      this.beatSent = this.sent;
      this.beatAt = now;
      const isWithin = this.sent < Math.min(this.accepted + this.upload.options.chunkSize, this.file.size);
      if (isWithin && now - this.movedAt > STALLED_S * 1000) {
        this.upload.abort();
        this.repeat("The network has stalled");
      }
      this.row.showProgress();
    }
  }

  // Whether no transfer of this page sends to a URL yet.
  function isFree(url) {
    return ![...transfers.values()].some((one) => one.upload.url === url);
  }

  async function isReadable(file) {
    try {
      await file.slice(0, 1).arrayBuffer();
      return true;
    } catch {
      return false;
    }
  }

  function isLogin(status) {
    return status === 401 || status === 403;
  }

  // Whether a repetition of the request would fail again.
  function isFinal(status) {
    const isPassing = [408, 409, 423, 425, 429, 460].includes(status);
    return (status >= 400 && status < 500 && !isPassing) || status === 501 || status === 507;
  }

  function retryAfter(response) {
    const seconds = Number.parseInt(response && response.getHeader("Retry-After"), 10);
    return seconds > 0 ? Math.min(seconds, 60) : 0;
  }

  // The line of a response that is meant for a person, if it is one of this server.
  function lineOf(response) {
    const isText = (response.getHeader("Content-Type") || "").startsWith("text/plain");
    return isText ? visible(response.getBody().trim().slice(0, 300)) : "";
  }

  // --- what is shown -----------------------------------------------------------------------------------------------

  const shown = (name) => part.querySelector(`[data-part=${name}]`);
  const queue = shown("queue");

  function partsOf(element) {
    return Object.fromEntries([...element.querySelectorAll("[data-part]")].map((one) => [one.dataset.part, one]));
  }

  class Row {
    constructor(transfer) {
      this.transfer = transfer;
      this.element = shown("row").content.firstElementChild.cloneNode(true);
      this.parts = partsOf(this.element);
      const here = `${part.dataset.folder}/`;
      this.name = visible(transfer.path.startsWith(here) ? transfer.path.slice(here.length) : transfer.path);
      this.parts.name.textContent = this.name;
      this.parts.bar.setAttribute("aria-label", this.name);
      this.parts.toggle.addEventListener("click", () => this.toggle());
      this.parts.remove.addEventListener("click", () => transfer.remove());
    }

    link(url) {
      this.parts.name.href = url.pathname;
      const name = decodeURIComponent(url.pathname.split("/").pop());
      if (name !== this.transfer.file.name) this.transfer.savedAs = name;
    }

    toggle() {
      if (ACTIVE.has(this.transfer.state) && this.transfer.state !== "retrying") this.transfer.pause();
      else this.transfer.resume();
    }

    show() {
      const state = this.transfer.state;
      if (state === "removed") {
        this.element.remove();
        return;
      }
      const label = { paused: "Go on", failed: "Try again", retrying: "Now" }[state] || "Pause";
      this.element.dataset.state = state;
      this.parts.toggle.textContent = label;
      this.parts.toggle.setAttribute("aria-label", `${label}: ${this.name}`);
      this.parts.remove.setAttribute("aria-label", `Remove: ${this.name}`);
      this.parts.toggle.hidden = this.parts.remove.hidden = this.parts.bar.hidden = state === "done";
      this.showProgress();
    }

    showProgress() {
      const { file, sent, state, message, speed, savedAs } = this.transfer;
      this.parts.bar.max = file.size || 1;
      this.parts.bar.value = state === "done" ? this.parts.bar.max : sent;
      const share = file.size ? `${sizeText(sent)} of ${sizeText(file.size)}` : sizeText(0);
      const texts = {
        waiting: `${sizeText(file.size)}, waiting`,
        sending: [share, ...(sent >= file.size ? ["the server checks it"] : rates(file.size - sent, speed))].join(", "),
        paused: `${share}, paused`,
        done: `${sizeText(file.size)}, done${savedAs ? `, as ${visible(savedAs)}` : ""}`,
      };
      this.parts.state.textContent = texts[state] || (message && `${share}. ${message}`);
    }
  }

  function rates(left, speed) {
    return speed > 1 ? [`${sizeText(speed)}/s`, timeText(left / speed)] : [];
  }

  function showAll() {
    const all = [...transfers.values()];
    const active = all.filter((one) => ACTIVE.has(one.state));
    const bytes = all.reduce((sum, one) => sum + one.file.size - one.sent, 0);
    const speed = all.reduce((sum, one) => sum + one.speed, 0);
    shown("all").hidden = all.length < 2;
    shown("all-toggle").textContent = active.length ? "Pause all" : "Go on with all";
    const toGo = `${counted(all.length, "file")}, ${sizeText(bytes)} to go`;
    shown("count").textContent = [toGo, ...rates(bytes, speed)].join(", ");
    const done = queue.querySelectorAll("[data-state=done]");
    for (const row of [...done].slice(0, Math.max(0, done.length - MOST_DONE_ROWS))) row.remove();
  }

  shown("all-toggle").addEventListener("click", () => {
    const all = [...transfers.values()];
    const active = all.filter((one) => ACTIVE.has(one.state));
    if (active.length) active.forEach((one) => one.pause());
    else all.forEach((one) => one.resume());
  });

  const isBusy = () => [...transfers.values()].some((one) => ACTIVE.has(one.state));

  // Read the folder again, as files have been added to it; a little later, for several files at a time.
  let isToRead = 0;

  function changed() {
    if (isToRead && isBusy()) return;
    clearTimeout(isToRead);
    isToRead = setTimeout(async () => {
      isToRead = 0;
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        if (!response.ok || response.redirected) return;
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const [old, fresh] = [document, page].map((one) => one.getElementById("listing"));
        if (fresh && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(fresh));
        reread();
      } catch {
        // The next one that is done reads it.
      }
    }, isBusy() ? 4000 : 300);
  }

  // --- the queue ---------------------------------------------------------------------------------------------------

  let isSoon = false;

  // Start what may start, and show the sums: once after several changes.
  function soon() {
    if (isSoon) return;
    isSoon = true;
    queueMicrotask(() => {
      isSoon = false;
      const all = [...transfers.values()];
      // One that waits for its repetition keeps its place: a server that is away is not asked for all files in turn.
      let free = AT_A_TIME - all.filter((one) => one.state === "sending" || one.state === "retrying").length;
      for (const one of all) {
        if (free <= 0) break;
        if (one.state === "waiting") {
          one.send();
          free -= 1;
        }
      }
      showAll();
    });
  }

  setInterval(() => {
    const now = performance.now();
    for (const one of transfers.values()) one.beat(now);
    if (transfers.size) showAll();
  }, 1000);

  // The network, or the person, is back.
  function retryNow() {
    if (document.hidden) return;
    for (const one of transfers.values()) if (one.state === "retrying") one.resume();
  }

  addEventListener("online", retryNow);
  document.addEventListener("visibilitychange", retryNow);

  addEventListener("beforeunload", (event) => {
    if ([...transfers.values()].some((one) => ACTIVE.has(one.state))) event.preventDefault();
  });

  // Add files, each with its folder below the folder of the page.
  function add(chosen) {
    known = null; // to be read anew, once for all of them
    for (const { file, folder } of chosen) addTo([part.dataset.folder, folder].filter(Boolean).join("/"), file);
  }

  function addTo(folder, file) {
    const one = new Transfer(file, folder);
    const same = transfers.get(one.key);
    if (same) {
      if (!ACTIVE.has(same.state)) same.resume();
      return;
    }
    doneKeys.delete(one.key);
    transfers.set(one.key, one);
    queue.append(one.row.element);
    one.become("waiting");
  }

  // --- choosing and dropping ---------------------------------------------------------------------------------------

  const isHidden = (path) => path.split("/").some((name) => name.startsWith("."));

  // Of a folder, leave out what is hidden: the server shows no such files.
  function addFolder(chosen) {
    const kept = chosen.filter(({ file, folder }) => !isHidden(`${folder}/${file.name}`));
    const left = chosen.length - kept.length;
    say(left ? `${counted(left, "hidden file")} left out.` : "");
    add(kept);
  }

  function say(text) {
    shown("told").textContent = text;
  }

  function folderOf(file) {
    return (file.webkitRelativePath || "").split("/").slice(0, -1).join("/");
  }

  function picker(name, take) {
    const input = shown(`${name}-input`);
    shown(name).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // so that the same file may be chosen again
      say("");
      take(files);
    });
  }

  picker("files", (files) => add(files.map((file) => ({ file, folder: "" }))));
  picker("folder", (files) => addFolder(files.map((file) => ({ file, folder: folderOf(file) }))));

  // Return the files of a dropped file or folder.
  async function filesOf(entry, folder) {
    if (entry.isFile) {
      return [{ file: await new Promise((done, failed) => entry.file(done, failed)), folder }];
    }
    const found = [];
    const reader = entry.createReader();
    const below = folder ? `${folder}/${entry.name}` : entry.name;
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // 100 at a time
      if (!some.length) return found;
      for (const one of some) found.push(...(await filesOf(one, below)));
    }
  }

  async function drop(items) {
    const entries = items.map((item) => item.webkitGetAsEntry()).filter(Boolean); // now: later they are gone
    say("");
    try {
      const found = [];
      for (const entry of entries) found.push(...(await filesOf(entry, "")));
      addFolder(found);
    } catch (error) {
      say(`A file or folder cannot be read: ${visible(error.message)}`);
    }
  }

  const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  let depth = 0; // of elements that a file is dragged over

  function dragged(by, event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = by ? Math.max(0, depth + by) : depth;
    document.body.classList.toggle("dropping", depth > 0);
  }

  addEventListener("dragenter", (event) => dragged(1, event));
  addEventListener("dragleave", (event) => dragged(-1, event));
  addEventListener("dragover", (event) => dragged(0, event));
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    drop([...event.dataTransfer.items].filter((item) => item.kind === "file"));
  });

  // --- unfinished uploads, of earlier pages and other programs -------------------------------------------------------

  class UnfinishedRow {
    constructor(one) {
      this.one = one;
      this.element = shown("unfinished-row").content.firstElementChild.cloneNode(true);
      this.parts = partsOf(this.element);
      const name = visible(one.path);
      this.parts.name.textContent = name;
      const until = new Date(one.expires).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
      const size = one.size === null ? "" : ` of ${sizeText(one.size)}`;
      this.parts.state.textContent = `${sizeText(one.offset)}${size}, kept until ${until}`;
      this.parts.again.setAttribute("aria-label", `Choose ${name} again to go on`);
      this.parts.again.hidden = one.modified === null; // another program has begun it
      this.parts.again.addEventListener("click", () => this.parts.input.click());
      this.parts.remove.setAttribute("aria-label", `Remove: ${name}`);
      this.parts.remove.addEventListener("click", () => this.remove());
      this.parts.input.addEventListener("change", () => this.goOn());
    }

    goOn() {
      const file = this.parts.input.files[0];
      this.parts.input.value = "";
      if (!file) return;
      const { sentAs, size, modified, urlStorageKey } = this.one;
      const folder = sentAs.split("/").slice(0, -1).join("/");
      if (keyOf(pathIn(folder, file), file.size, file.lastModified) === urlStorageKey) {
        known = null;
        addTo(folder, file);
        return;
      }
      let why = "was changed since";
      if (pathIn(folder, file) !== sentAs) why = "has another name";
      else if (file.size !== size) why = `has ${sizeText(file.size)}`;
      this.parts.why.textContent = `The file that you have chosen ${why}. Choose the same one, or remove this upload.`;
    }

    async remove() {
      try {
        await tus.Upload.terminate(this.one.uploadUrl, { retryDelays: null });
      } catch (error) {
        const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
        if (status !== 404 && status !== 410) {
          this.parts.why.textContent = isLogin(status) ? LOGGED_OUT : "The server does not answer. Try again.";
          return;
        }
      }
      reread();
    }
  }

  // `doneBefore` has the keys of files that were there before the list was asked for: others may be there since then.
  function showUnfinished(all, doneBefore = new Set()) {
    // An upload whose file is in the queue is not listed twice, also while its URL is not known yet.
    const free = all.filter((one) => isFree(one.uploadUrl) && !transfers.has(one.urlStorageKey));
    // Of a file that is there, a second upload has begun when the answer to the first request was lost: browsers repeat
    // such requests themselves.
    const doubles = free.filter((one) => doneBefore.has(one.urlStorageKey));
    doubles.forEach((one) => tus.Upload.terminate(one.uploadUrl, { retryDelays: null }).catch(() => {}));
    const rows = free.filter((one) => !doneKeys.has(one.urlStorageKey)).map((one) => new UnfinishedRow(one).element);
    shown("unfinished-rows").replaceChildren(...rows);
    shown("unfinished").hidden = !rows.length;
  }

  function reread() {
    readUnfinished().catch((error) => {
      if (![404, 405, 501].includes(error.status)) return;
      shown("choose").hidden = true; // another server runs the pages
      say("This server takes no uploads.");
    });
  }

  if ("webkitdirectory" in HTMLInputElement.prototype) shown("folder").hidden = false;
  shown("choose").hidden = false;
  reread();
})();
