/** What Node has everywhere, for the page. */
export { Buffer } from 'buffer';
