// Counts the seconds until it is told to stop. Send it a number to set how many milliseconds a tick takes.

let ticks = 0;
let timer = setInterval(tick, 1000);

function tick() {
  ticks += 1;
  postMessage({ ticks });
}

onmessage = ({ data }) => {
  clearInterval(timer);
  if (data === 'stop') {
    console.log(`stopped after ${ticks} ticks`);
    close();
    return;
  }
  timer = setInterval(tick, Math.max(10, Number(data) || 1000));
};
