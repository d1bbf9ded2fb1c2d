(() => {
  const time = document.getElementById("left");
  if (!time) return;
  const end = performance.now() + Number(time.dataset.leftS) * 1000;
  const two = (n) => String(n).padStart(2, "0");
  const show = () => {
    const s = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
    const hms = h || d ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
    time.textContent = d ? `${d} d ${hms}` : hms;
    time.classList.toggle("soon", s <= 60);
    if (s === 0) {
      clearInterval(timer);
      setTimeout(() => location.replace(location.pathname), 1500);
    }
  };
  const timer = setInterval(show, 500);
  show();
})();
