// What the tables of the operations view show, made from what the server tells.

/** Turns counters that only grow into numbers per second. */
export class Meter {
  #before = new Map();

  /** The rates of counters since the last time that they were seen under this key; null at the first time. */
  rates(key, counters, now) {
    const before = this.#before.get(key);
    this.#before.set(key, { at: now, counters });
    const seconds = before ? (now - before.at) / 1000 : 0;
    const rate = (name) => (seconds > 0 ? Math.max(0, counters[name] - before.counters[name]) / seconds : null);
    return Object.fromEntries(Object.keys(counters).map((name) => [name, rate(name)]));
  }

  /** A connection with what it sends and gets in a second. */
  connection(connection, now) {
    const { bytes_in, bytes_out } = connection;
    return { ...connection, rates: this.rates(`connection ${connection.id}`, { bytes_in, bytes_out }, now) };
  }

  /** Forgets what wasn't seen now. */
  forget(now) {
    for (const [key, { at }] of this.#before) {
      if (at !== now) this.#before.delete(key);
    }
  }
}

/** The rooms in the answer to `GET /api/rooms`, each with its key, and with its rates if there is a meter. */
export function roomsIn(told, metered = null) {
  return told.map((room) => {
    const media = (room.participants ?? []).flatMap((participant) => participant.media ?? []);
    const total = (name) => media.reduce((sum, one) => sum + one[name], 0);
    const key = `${room.dialect} ${room.id}`;
    const counters = { bytes_in: total('bytes_in'), bytes_out: total('bytes_out') };
    return {
      ...room,
      key,
      publishers: (room.participants ?? []).filter(({ publishing }) => publishing).length,
      unconnected: media.filter(({ state }) => state !== 'connected').length,
      rates: metered?.meter.rates(`room ${key}`, counters, metered.now) ?? null,
    };
  });
}

/** A row for each media connection of a room's participants, and one for each that has none. */
export function participantsOf(room, { meter, now }) {
  const participants = room.participants ?? room.members.map((user) => ({ user }));
  return participants.flatMap((participant) => {
    const about = { room, participant, user: participant.user, key: participant.user, isFirst: true };
    const media = participant.media ?? [];
    if (media.length === 0) return [{ ...about, media: null, rates: null }];
    return media.map((one, at) => {
      const key = `${participant.user} ${one.of ?? ''}`;
      const { bytes_in, bytes_out } = one;
      const rates = meter.rates(`media ${room.key} ${key}`, { bytes_in, bytes_out }, now);
      return { ...about, key, isFirst: at === 0, media: one, rates };
    });
  });
}
