// Runs an asynchronous task once at a time.

/**
 * `start` runs the task. A call during a run makes it run once more afterwards, however many such calls there are. Such
 * a call resolves to null at once; the call that began the first run resolves to the result of the last run.
 */
export function createSingleRun(task) {
  let isRunning = false;
  let isAskedAgain = false;

  async function start() {
    if (isRunning) {
      isAskedAgain = true;
      return null;
    }
    isRunning = true;
    let result;
    try {
      result = await task();
    } finally {
      isRunning = false;
    }
    if (!isAskedAgain) return result;
    isAskedAgain = false;
    return start();
  }

  return { start, isRunning: () => isRunning };
}
