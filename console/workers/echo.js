// A worker that runs on a gecko and sends back whatever the page posts.
//
// Over a data channel with the protocol `rws.v1`, values travel as JSON; over any other one, texts as
// they are. Binary messages arrive as an ArrayBuffer either way.

let count = 0;

onmessage = ({ data }) => {
  count += 1;
  if (data instanceof ArrayBuffer) {
    console.log(`message ${count}: ${data.byteLength} bytes`);
  } else {
    console.log(`message ${count}:`, data);
  }
  postMessage(data);
};

// What is logged goes to the gecko's log, and to the page's channel `control` if it opened one.
console.log(`an echo runs, from ${location.href}`);
// What is posted before the channel is open waits for it.
postMessage('hello from the echo worker');
