// Why a session ended, in words for a person, and what to do about it where there is something. Pure.

const ENDS = {
  deleted: "Its owner ended it.",
  ended_by_operator: "An operator ended it.",
  client_left: "It was made by a one-line connection, and that is gone.",
  cancelled: "The caller hung up before it was ready.",
  queue_timeout: "No place came free in the time that the caller wanted to wait.",
  drained: "The service went down.",
  idle_timeout: "Nobody used it for its idle timeout.",
  max_lifetime: "Its lifetime was up.",
  browser_died: "Its Chromium died. Look for the kernel's out-of-memory messages.",
  browser_hung: "Its Chromium did not answer any more and was killed.",
  context_died: "Its context was gone, though its Chromium lived.",
  driver_died: "Playwright's driver died.",
  start_page_failed: "Its start page did not load.",
  start_failed: "It could not be started. The answer to its create said why.",
  node_lost: "The server died under it. The next start found it.",
};

export const whyEnded = (reason) => ENDS[reason] ?? "";
