// {{name}}: where most of the prompt is cached, unless too much is running there.

// Ids of wit/policy.wit.
const DEVICE_OVERLAP = 5;
const RUNNING = 15;

let settings = { running_cost: 8 };

export const picker = {
  // Once, before the first pick. What is thrown is shown to whoever activates the policy.
  configure(pool, settingsJson) {
    settings = { ...settings, ...JSON.parse(settingsJson) };
    if (!(settings.running_cost >= 0)) {
      throw "running_cost: must be a number from 0";
    }
    return { columns: Uint32Array.of(DEVICE_OVERLAP, RUNNING), headers: [], prompt: true };
  },

  // Columns are packed: columns[c * rows + row], c being the position in what configure returned.
  pick(request, { rows, columns }) {
    let least = Infinity;
    let tied = [];
    for (let row = 0; row < rows; row++) {
      const cost = settings.running_cost * columns[rows + row] - columns[row];
      if (cost < least) {
        least = cost;
        tied = [row];
      } else if (cost === least) {
        tied.push(row);
      }
    }
    // The seed is the only randomness.
    const chosen = Number((request.seed >> 32n) % BigInt(tied.length));
    return { tag: "rank", val: tied[chosen] };
  },
};
