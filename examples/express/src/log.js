/**
 * The shop prints what happens and nothing else: one line each, an event in capitals and what it was about.
 * @param {string} event HIT, MISS, QUERY, WRITE, ...
 * @param {string} subject a key, a statement, a channel
 */
export function log(event, subject) {
  console.log(`${event} ${subject}`);
}
