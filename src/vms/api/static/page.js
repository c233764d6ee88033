// The built-in page: cameras with their state, a form to add one, and a player for the last minutes.

const REFRESH_MS = 2000;
const PAGE_SIZE = 500;
const STATE_TEXT = {
  online: "online", connecting: "connecting", degraded: "degraded", offline: "offline",
  auth_failed: "login refused", disabled: "disabled",
};

const element = (id) => document.getElementById(id);
let storageUrl = null;
let playing = null;

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch {
    throw new Error("The service does not answer. Is it running?");
  }
  if (response.ok) return response.status === 204 ? null : response;
  let detail = `${response.status} ${response.statusText}`;
  try { detail = (await response.json()).detail ?? detail; } catch { /* not a problem document: the status says it */ }
  throw new Error(detail);
}

const getJson = async (path) => (await call(path)).json();
const postJson = async (path, body) => (await call(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
})).json();

function show(target, text, good = false) {
  target.textContent = text ?? "";
  target.hidden = !text;
  target.classList.toggle("good", good);
}

// --- list -----------------------------------------------------------------------------------------

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function facts(camera) {
  const status = camera.status;
  const parts = [];
  if (status.width) parts.push(`${status.width}×${status.height}`);
  if (status.codec) parts.push(status.codec.toUpperCase());
  if (status.state === "online" || status.state === "degraded") {
    parts.push(`${status.fps.toFixed(1)} fps`, `${(status.bitrate_bps / 1e6).toFixed(2)} Mbit/s`);
  }
  parts.push(camera.record ? (status.recording ? "recording" : "not recording") : "recording is off");
  if (status.reconnects_total) parts.push(`${status.reconnects_total} reconnections`);
  if (status.next_try) {
    const seconds = Math.max(0, Math.round((Date.parse(status.next_try) - Date.now()) / 1000));
    parts.push(`next try in ${seconds} s`);
  }
  return parts.join(" · ");
}

function card(camera) {
  const item = make("li", "camera");
  item.dataset.id = camera.id;
  const top = make("div", "top");
  top.append(make("span", "name"), make("span", "state"));
  const actions = make("div", "actions");
  const play = make("button", "", "Play");
  play.type = "button";
  play.addEventListener("click", () => openPlayer(item.camera));
  const remove = make("button", "", "Remove");
  remove.type = "button";
  remove.addEventListener("click", () => removeCamera(item.camera));
  actions.append(play, remove);
  item.append(top, make("p", "url"), make("p", "facts"), make("p", "fault"), actions);
  return item;
}

// Cards are changed in place, so that focus stays where the keyboard put it.
function fill(item, camera) {
  item.camera = camera;
  const set = (selector, text) => {
    const node = item.querySelector(selector);
    if (node.textContent !== text) node.textContent = text;
  };
  set(".name", camera.name);
  set(".url", camera.url);
  set(".facts", facts(camera));
  set(".fault", camera.status.last_error && camera.status.state !== "online" ? camera.status.last_error : "");
  set(".state", STATE_TEXT[camera.status.state] ?? camera.status.state);
  item.querySelector(".state").className = `state state-${camera.status.state}`;
  const [play, remove] = item.querySelectorAll("button");
  play.setAttribute("aria-label", `Play ${camera.name}`);
  remove.setAttribute("aria-label", `Remove ${camera.name}`);
}

async function refresh() {
  try {
    const cameras = [];
    let cursor = "";
    do {
      const page = await getJson(`/api/v1/cameras?limit=${PAGE_SIZE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      cameras.push(...page.items);
      cursor = page.next_cursor ?? "";
    } while (cursor);
    const list = element("cameras");
    const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
    for (const camera of cameras) {
      const item = known.get(camera.id) ?? list.appendChild(card(camera));
      known.delete(camera.id);
      fill(item, camera);
    }
    for (const gone of known.values()) gone.remove();
    element("empty").hidden = cameras.length > 0;
    show(element("notice"), null);
  } catch (error) {
    show(element("notice"), error.message);
  }
}

async function removeCamera(camera) {
  if (!confirm(`Remove ${camera.name}? Its recordings stay until their time is over.`)) return;
  try {
    await call(`/api/v1/cameras/${camera.id}`, { method: "DELETE" });
    await refresh();
  } catch (error) {
    show(element("notice"), error.message);
  }
}

// --- add ------------------------------------------------------------------------------------------

const form = element("add-form");
const addDialog = element("add-dialog");

async function submit(action) {
  const result = element("add-result");
  const buttons = form.querySelectorAll("button");
  const data = Object.fromEntries(new FormData(form));
  data.retention_days = Number(data.retention_days);
  for (const button of buttons) button.disabled = true;
  show(result, null);
  try {
    if (action === "test") {
      const { url, username, password } = data;
      const info = await postJson("/api/v1/cameras/test", { url, username, password });
      show(result, `It works: ${info.codec.toUpperCase()} ${info.width}×${info.height}`, true);
    } else {
      await postJson("/api/v1/cameras", data);
      form.reset();
      addDialog.close();
      await refresh();
    }
  } catch (error) {
    show(result, error.message);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

element("add").addEventListener("click", () => { show(element("add-result"), null); addDialog.showModal(); });
element("add-cancel").addEventListener("click", () => addDialog.close());
element("add-test").addEventListener("click", () => submit("test"));
form.addEventListener("submit", (event) => { event.preventDefault(); submit("add"); });

// --- player ---------------------------------------------------------------------------------------

// Its crossorigin attribute matters: Chromium refuses byte ranges of HLS media from another port without CORS.
const video = element("video");
const player = element("player");
const message = element("player-message");

function openPlayer(camera) {
  playing = camera;
  element("player-title").textContent = camera.name;
  player.showModal();
  load();
}

async function load() {
  const camera = playing;
  const end = new Date();
  const start = new Date(end - Number(element("span").value) * 60000);
  const range = `start=${start.toISOString()}&end=${end.toISOString()}`;
  const base = `${storageUrl}/recordings/${camera.id}`;
  stop();
  element("download").href = `${base}/clip.mp4?${range}`;
  message.textContent = "Loading…";
  let began;
  try {
    // Asked for first, because a video element does not say why it failed.
    const text = await (await call(`${base}/playlist.m3u8?${range}`)).text();
    began = text.match(/^#EXT-X-PROGRAM-DATE-TIME:(.+)$/m)?.[1];
  } catch (error) {
    message.textContent = error.message;
    return;
  }
  if (playing !== camera) return;
  video.dataset.began = began ? new Date(began).toLocaleTimeString() : "";
  const hls = video.canPlayType("application/vnd.apple.mpegurl") !== "";
  video.dataset.kind = hls ? "hls" : "clip";
  video.src = hls ? `${base}/playlist.m3u8?${range}` : `${base}/clip.mp4?${range}`;
  video.play().catch(() => { /* the browser wants a click first: the controls are there */ });
}

function stop() {
  video.removeAttribute("src");
  video.load();
}

video.addEventListener("loadedmetadata", () => {
  const length = Number.isFinite(video.duration) ? `${Math.round(video.duration)} seconds` : "";
  message.textContent = [length, video.dataset.began && `from ${video.dataset.began}`].filter(Boolean).join(" ");
});
video.addEventListener("error", () => {
  if (!video.getAttribute("src")) return;
  if (video.dataset.kind === "hls") {
    // Some browsers say that they play HLS and then do not: the clip is the same footage in one file.
    video.dataset.kind = "clip";
    video.src = element("download").href;
    video.play().catch(() => {});
    return;
  }
  message.textContent = "This browser cannot play the recording: download it instead.";
});
element("span").addEventListener("change", load);
element("player-close").addEventListener("click", () => player.close());
player.addEventListener("close", () => { playing = null; stop(); });

// --- start ----------------------------------------------------------------------------------------

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}

try {
  const system = await getJson("/api/v1/system");
  storageUrl = system.storage_url;
  element("version").textContent = system.version;
} catch (error) {
  show(element("notice"), error.message);
}
storageUrl ??= `${location.protocol}//${location.hostname}:9092`;
keepFresh();
