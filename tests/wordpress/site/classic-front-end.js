/**
 * A front end as sites have it that talk to a WebSocket server of their own.
 *
 * It knows no protocol: one event a message, one element an event. `SOCKET_URL`
 * is the one thing that a site changes to move to Sidewire.
 */
const socket = new WebSocket(SOCKET_URL);

socket.onmessage = function (message) {
  const data = JSON.parse(message.data);
  switch (data.type) {
    case 'post_meta_update': {
      const element = document.getElementById('meta-value-post-' + data.post_id + '-' + data.meta_key);
      if (element) {
        element.textContent = data.meta_value;
      }
      break;
    }
  }
};
