// Answers come in any order; what is shown belongs to what was asked last.

/** Return `ask` such that it resolves to null, whatever came of it, once it was called again. */
export function newest(ask) {
  let last = 0;
  return async (...args) => {
    const mine = ++last;
    try {
      const answer = await ask(...args);
      return mine === last ? answer : null;
    } catch (error) {
      if (mine !== last) return null;
      throw error;
    }
  };
}
