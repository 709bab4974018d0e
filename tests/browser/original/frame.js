// A page that frames the client page, and keeps what that posts.

addEventListener('message', ({ data }) => {
  if (data.type === 'displays_info') window.displaysInfo = data.payload;
});
document.querySelector('iframe').src = `client.html${location.search}`;
