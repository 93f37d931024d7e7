/**
 * Markers in the page: which elements show which value, now and later, and how
 * a value is written into one.
 *
 * It writes text and nothing else: no HTML, no attribute. It keeps no list of
 * elements, so what a script adds, moves or removes is never missed or held.
 */

/** @import { Report } from './configuration.js' */
/** @import { MetaEvent } from './event.js' */

const ATTRIBUTE = 'data-sidewire-meta';
const MARKED = `[${ATTRIBUTE}],[id^="meta-value-post-"]`;
// In a network of sites, a blog other than the first puts its number in front: 2/26:price.
const ATTRIBUTE_FORM = /^((?:[1-9]\d*\/)?[1-9]\d*):([^]+)$/;
const ID_FORM = /^meta-value-post-([1-9]\d*)-([^]+)$/;

/**
 * @typedef {object} Marker
 * @property {string} post Which post, as in its channel's name: `26`, or `2/26` in a network.
 * @property {string} key Which value: `26:price`.
 */

/**
 * What an element is marked to show.
 *
 * @param {Element} element
 * @param {Report} [report] told of a marker that can't be read
 * @returns {Marker | undefined}
 */
export function markerOf(element, report) {
  const value = element.getAttribute(ATTRIBUTE);
  const match = value === null ? ID_FORM.exec(element.id) : ATTRIBUTE_FORM.exec(value);
  if (!match) {
    if (value !== null && report) report(`${ATTRIBUTE} = ${JSON.stringify(value)}; expected POST:KEY, such as "26:price"`);
    return undefined;
  }
  // Text in these is code, and a value must never become any.
  if (/^(script|style)$/i.test(element.localName)) {
    if (report) report(`${ATTRIBUTE} on <${element.localName}>; expected an element that shows text, such as <span>`);
    return undefined;
  }
  return { post: match[1], key: `${match[1]}:${match[2]}` };
}

/**
 * Finds the marked elements under a root, and those that come later.
 *
 * @param {Document | Element} root
 * @param {object} parts
 * @param {(element: Element, marker: Marker) => void} parts.found called for each marked element, once found and when its marker changes
 * @param {Report} parts.report
 */
export function watch(root, { found, report }) {
  const view = /** @type {Window & typeof globalThis} */ ((root.ownerDocument || /** @type {Document} */ (root)).defaultView);
  const observer = new view.MutationObserver((mutations) => {
    for (const mutation of mutations) {
      if (mutation.type === 'attributes') visit(/** @type {Element} */ (mutation.target));
      else mutation.addedNodes.forEach(scan);
    }
  });

  /** @param {Element} element */
  function visit(element) {
    const marker = markerOf(element, report);
    if (marker) found(element, marker);
  }

  /** @param {Node} node */
  function scan(node) {
    if (node.nodeType !== 1 && node.nodeType !== 9) return;
    const parent = /** @type {Document | Element} */ (node);
    if ('matches' in parent && parent.matches(MARKED)) visit(parent);
    parent.querySelectorAll(MARKED).forEach(visit);
  }

  /** @returns {[Element, Marker][]} */
  function marked() {
    const elements = Array.from(root.querySelectorAll(MARKED));
    if ('matches' in root && root.matches(MARKED)) elements.unshift(root);
    /** @type {[Element, Marker][]} */
    const pairs = [];
    for (const element of elements) {
      const marker = markerOf(element);
      if (marker) pairs.push([element, marker]);
    }
    return pairs;
  }

  scan(root);
  observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: [ATTRIBUTE, 'id'] });

  return {
    /** The posts that are shown under the root now. */
    posts: () => marked().map(([, marker]) => marker.post),

    /**
     * The elements that show a value now.
     * @param {string} key
     */
    elements: (key) => marked().filter(([, marker]) => marker.key === key).map(([element]) => element),

    /** Stops looking for later elements. */
    close: () => observer.disconnect(),
  };
}

/**
 * Writes an event's text into an element, unless a listener of
 * `sidewire:update` prevents it.
 *
 * @param {Element} element
 * @param {MetaEvent} event
 * @param {string} text
 */
export function show(element, event, text) {
  const { CustomEvent } = /** @type {Window & typeof globalThis} */ (element.ownerDocument.defaultView);
  const update = new CustomEvent('sidewire:update', { bubbles: true, cancelable: true, detail: event });
  if (!element.dispatchEvent(update)) return;
  element.textContent = text;
  element.dispatchEvent(new CustomEvent('sidewire:updated', { bubbles: true, detail: event }));
}
