/** The arithmetic of a list that draws the visible rows only; rows have one height. */

// Rows drawn beyond each edge, so that a turn of the wheel shows rows and no gap.
const BEYOND = 12;
// Browsers cut elements above 17 million pixels (Firefox); beyond, the list is moved under the scroll bar.
export const HEIGHT_LIMIT = 16_000_000;

/**
 * The rows to draw: from `first` up to `end`, at `top` pixels.
 * @param {{scroll: number, height: number, row: number, count: number}} view pixels, and the number of rows
 * @returns {{first: number, end: number, top: number, total: number}}
 */
export function visible({ scroll, height, row, count }) {
    const whole = count * row;
    const total = Math.min(whole, HEIGHT_LIMIT);
    const at = offset(scroll, height, whole, total);
    const first = Math.max(0, Math.min(count, Math.floor(at / row)) - BEYOND);
    const end = Math.min(count, Math.ceil((at + height) / row) + BEYOND);
    return { first, end, top: first * row - (at - scroll), total };
}

/**
 * The scroll position at which a row is in view: the present one if it is already, else the nearest one, or the one with
 * the row in the middle.
 * @param {{scroll: number, height: number, row: number, count: number}} view
 * @param {number} index
 * @param {boolean} [middle]
 */
export function reveal({ scroll, height, row, count }, index, middle = false) {
    const whole = count * row;
    const total = Math.min(whole, HEIGHT_LIMIT);
    const at = offset(scroll, height, whole, total);
    const top = index * row;
    let wanted = at;
    if (top < at) wanted = top;
    else if (top + row > at + height) wanted = top + row - height;
    if (middle && wanted !== at) wanted = Math.max(0, Math.min(whole - height, top - (height - row) / 2));
    if (whole <= total) return wanted;
    return wanted === at ? scroll : (wanted * (total - height)) / (whole - height);
}

/**
 * The pixels of the whole list above the view. Of a list that is higher than a browser allows, the scroll bar is a scale.
 * @param {number} scroll
 * @param {number} height
 * @param {number} whole
 * @param {number} total
 */
function offset(scroll, height, whole, total) {
    if (whole <= total || total <= height) return Math.max(0, scroll);
    return Math.max(0, (scroll * (whole - height)) / (total - height));
}
