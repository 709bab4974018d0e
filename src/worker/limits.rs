//! What one worker may use.

use std::time::Duration;

/// What one worker may use. What happens beyond is said at each.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Bytes of the interpreter's heap. More throws in the script, and ends the worker if uncaught.
    pub heap_bytes: usize,
    /// Bytes of address space that the child may add to what it has at its start (`RLIMIT_AS`): a
    /// second wall around the heap and the messages on their way. More ends the worker.
    pub process_bytes: usize,
    /// Bytes of the stack that scripts may use. Deeper calls throw a `RangeError`.
    pub stack_bytes: usize,
    /// Processor time from the start of the script to the end of its top level, with its imports.
    /// More ends the worker.
    pub start_cpu: Duration,
    /// Time from fork to the end of the script's top level, with what it awaits and imports. More
    /// ends the worker.
    pub start_wall: Duration,
    /// Processor time of one turn: one message, timer or answer, with the microtasks that follow.
    /// More ends the worker. The kernel ends those whose built-in functions never look, up to 1.2 s
    /// later.
    pub turn_cpu: Duration,
    /// Processor time altogether, in whole seconds (`RLIMIT_CPU`). More ends the worker.
    pub total_cpu: Duration,
    /// Bytes of one message either way. A longer one isn't taken: `postMessage` throws.
    pub message_bytes: usize,
    /// Bytes that wait for the owner, and that wait for the script, beside one message of any size.
    /// The sender waits.
    pub queue_bytes: usize,
    /// Events that wait for the owner, and messages that wait for the script. The sender waits.
    pub queue_messages: usize,
    /// Bytes of one line of `console`. The rest is cut off.
    pub console_bytes: usize,
    /// Bytes of what the loader brings: one script, or one answer to `fetch`. A longer one counts as
    /// a failure.
    pub load_bytes: usize,
    /// How long one load may take.
    pub load_wall: Duration,
    /// Loads of one worker at once. `fetch` throws beyond.
    pub loads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heap_bytes: 32 * 1024 * 1024,
            process_bytes: 128 * 1024 * 1024,
            stack_bytes: 512 * 1024,
            start_cpu: Duration::from_secs(2),
            start_wall: Duration::from_secs(10),
            turn_cpu: Duration::from_secs(1),
            total_cpu: Duration::from_secs(600),
            message_bytes: 1024 * 1024,
            queue_bytes: 1024 * 1024,
            queue_messages: 256,
            console_bytes: 8 * 1024,
            load_bytes: 4 * 1024 * 1024,
            load_wall: Duration::from_secs(10),
            loads: 16,
        }
    }
}
