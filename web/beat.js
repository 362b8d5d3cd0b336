// A worker that sends a message every two seconds. Its timers keep their pace while the page is hidden.
setInterval(() => postMessage(null), 2000);
