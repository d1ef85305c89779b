/** Whether nothing that takes keys has the focus: what had it is gone, or cannot be used any more. */
export function isFocusLost(): boolean {
  const { activeElement } = document;
  return !activeElement || activeElement === document.body || activeElement.matches(":disabled");
}
