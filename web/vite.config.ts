import { defineConfig } from 'vite';

// Each page is built by itself with relative addresses, so it works under whatever path serves it.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // No data: images, so that a page needs no more than 'self' for its own pictures.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4096,
    rolldownOptions: {
      // Libraries mark files as "use client" for servers that render React; there is none here.
      checks: { moduleLevelDirective: false },
    },
    license: { fileName: 'licenses.md' },
  },
});
