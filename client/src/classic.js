/**
 * The build for a plain script element: the global `sidewire`, which starts by
 * itself on a page that carries a configuration.
 *
 * On any other page it only offers its functions.
 */

import { ELEMENT_ID } from './configuration.js';
import { bind, close, connect } from './index.js';

const page = /** @type {Window & { sidewire?: any }} */ (window);

function start() {
  if (document.getElementById(ELEMENT_ID) && connect()) bind();
}

// A page may come by the script twice, from a theme and a plugin; one connection is enough.
if (!page.sidewire || typeof page.sidewire.connect !== 'function') {
  page.sidewire = { connect, bind, close };
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start);
  else start();
}
