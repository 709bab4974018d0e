// The tables of the operations view: their columns, and what their buttons do.

import { bitrate, bytes, milliseconds, percent, span, whole } from './format.js';
import { Table } from './table.js';

const path = (...parts) => `/api/${parts.map(encodeURIComponent).join('/')}`;

/** Who is registered. `does` is `{ask, act, open}`, here and below. */
export function endpointTable(place, does) {
  return new Table(place, {
    name: 'endpoints',
    nothing: 'Nothing is registered.',
    keyOf: ({ dialect, kind, id }) => `${dialect} ${kind} ${id}`,
    columns: [
      { name: 'Endpoint', value: ({ id }) => id },
      { name: 'Dialect', value: ({ dialect }) => dialect },
      { name: 'Kind', value: ({ kind }) => kind },
      { name: 'Calls', value: ({ calls }) => calls, number: true },
      { name: 'State', value: ({ state }) => state },
      { name: 'Here for', value: ({ registered_seconds_ago: age }) => age, text: span, number: true },
      { name: 'Connection', value: ({ connection }) => connection, number: true },
    ],
    actions: ({ dialect, id }) => [kick(does, id, 'Its connection is closed. It may come back, if its token still lets it in.', path('endpoints', dialect, id))],
  });
}

/** Who talks to whom. */
export function callTable(place, does) {
  return new Table(place, {
    name: 'calls',
    nothing: 'No call is open.',
    keyOf: ({ id }) => id,
    columns: [
      { name: 'Endpoint', value: ({ endpoint }) => endpoint },
      { name: 'Caller', value: ({ caller }) => caller },
      { name: 'User', value: ({ user }) => user },
      { name: 'Dialect', value: ({ dialect }) => dialect },
      { name: 'Open for', value: ({ opened_seconds_ago: age }) => age, text: span, number: true },
      { name: 'To endpoint', value: (call) => call.messages_to_endpoint, text: whole, number: true },
      { name: 'To caller', value: (call) => call.messages_to_caller, text: whole, number: true },
    ],
    actions: ({ id, endpoint }) => [{
      name: 'End',
      title: `End the call to ${endpoint}`,
      does: () => does.ask(
        { question: `End the call to ${endpoint}?`, about: 'Both ends are told. Media that flows between them directly may go on until they hang up.', verb: 'End' },
        () => does.act(`The call to ${endpoint} was ended.`, 'DELETE', path('calls', id)),
      ),
    }],
  });
}

/** The rooms; `does.open(room)` shows who is in it. */
export function roomTable(place, does) {
  return new Table(place, {
    name: 'rooms',
    nothing: 'There is no room.',
    keyOf: ({ key }) => key,
    columns: [
      { name: 'Room', value: ({ id }) => id, open: does.open },
      { name: 'Kind', value: ({ kind }) => kind },
      { name: 'Members', value: ({ members }) => members.length, number: true },
      { name: 'Send', value: ({ kind, publishers }) => (kind === 'forwarding' ? publishers : null), number: true },
      { name: 'In', value: ({ kind, rates }) => (kind === 'forwarding' ? rates?.bytes_in : null), text: bits, number: true },
      { name: 'Out', value: ({ kind, rates }) => (kind === 'forwarding' ? rates?.bytes_out : null), text: bits, number: true },
      { name: 'Not connected', value: ({ kind, unconnected }) => (kind === 'forwarding' ? unconnected : null), number: true },
    ],
    actions: ({ kind, id }) => (kind === 'forwarding' ? [{
      name: 'Close',
      title: `Close the room ${id}`,
      does: () => does.ask(
        { question: `Close the room ${id}?`, about: 'Everyone in it is told and put out. The next one who joins makes it anew.', verb: 'Close' },
        () => does.act(`The room ${id} was closed.`, 'DELETE', path('rooms', id)),
      ),
    }] : []),
  });
}

/** Who is in a room, and their media connections as the server sees them. */
export function participantTable(place, does) {
  return new Table(place, {
    name: 'participants',
    nothing: 'Nobody is in it.',
    keyOf: ({ key }) => key,
    columns: [
      { name: 'Participant', value: ({ user }) => user },
      { name: 'Media', value: mediaName },
      { name: 'State', value: mediaState },
      { name: 'Bitrate', value: ({ media, rates }) => rates?.[media?.of === undefined ? 'bytes_in' : 'bytes_out'], text: bits, number: true },
      { name: 'Loss', value: ({ media }) => media?.loss, text: percent, number: true },
      { name: 'Round trip', value: ({ media }) => media?.rtt_ms, text: milliseconds, number: true },
      { name: 'Jitter', value: ({ media }) => media?.jitter_ms, text: milliseconds, number: true },
      { name: 'Note', value: mediaNote, wide: true },
    ],
    actions: ({ room, participant, isFirst }) => (isFirst && room.kind === 'forwarding' ? participantActions(does, room, participant) : []),
  });
}

/** Every connection. */
export function connectionTable(place, does) {
  return new Table(place, {
    name: 'connections',
    nothing: 'Nobody is connected.',
    keyOf: ({ id }) => id,
    columns: [
      { name: 'Connection', value: ({ id }) => id },
      { name: 'Address', value: ({ address, secure }) => (secure ? `${address} (TLS)` : address) },
      { name: 'Dialect', value: ({ dialect }) => dialect },
      { name: 'Role', value: ({ role }) => role },
      { name: 'User', value: ({ user }) => user },
      { name: 'Endpoint', value: ({ endpoint }) => endpoint },
      { name: 'Here for', value: ({ connected_seconds_ago: age }) => age, text: span, number: true },
      { name: 'In', value: ({ rates }) => rates.bytes_in, text: perSecond, number: true },
      { name: 'Out', value: ({ rates }) => rates.bytes_out, text: perSecond, number: true },
      { name: 'Queued', value: ({ queued_bytes: queued }) => queued, text: bytes, number: true },
    ],
    actions: ({ id, endpoint }) => [kick(does, endpoint ? `${endpoint} (connection ${id})` : `connection ${id}`, 'The connection is closed. It may come back, if its token still lets it in.', path('connections', id))],
  });
}

function kick(does, whom, about, address) {
  return {
    name: 'Kick',
    title: `Kick ${whom}`,
    does: () => does.ask({ question: `Kick ${whom}?`, about, verb: 'Kick' }, () => does.act(`Kicked: ${whom}.`, 'DELETE', address)),
  };
}

function participantActions(does, room, { user, publishing, muted = {} }) {
  const mute = (kind, word) => {
    const isMuted = Boolean(muted[kind]);
    const verb = isMuted ? 'Unmute' : 'Mute';
    return {
      name: `${verb} ${word}`,
      marked: isMuted,
      title: `${verb} the ${word} of ${user}`,
      does: () => does.ask(
        {
          question: `${verb} the ${word} of ${user}?`,
          about: isMuted ? 'The others get it again.' : 'The others stop getting it until it is unmuted here. What is sent to the server goes on.',
          verb,
        },
        () => does.act(`${isMuted ? 'Unmuted' : 'Muted'}: the ${word} of ${user}.`, 'PUT', path('rooms', room.id, 'participants', user, 'mute'), { [kind]: !isMuted }),
      ),
    };
  };
  const out = kick(does, user, `It is put out of the room ${room.id}, and told so.`, path('rooms', room.id, 'participants', user));
  return publishing ? [mute('audio', 'sound'), mute('video', 'picture'), out] : [out];
}

function mediaName({ room, media, participant }) {
  if (!media) return room.kind === 'forwarding' ? 'none' : 'to each other';
  return media.of === undefined ? `sends to ${participant.publishing === false ? 'nobody' : 'the room'}` : `gets ${media.of}`;
}

function mediaState({ media, participant }) {
  if (participant.away) return 'away';
  if (!media) return null;
  return media.transport ? `${media.state}, ${media.transport.toUpperCase()}` : media.state;
}

function mediaNote({ media, participant, isFirst }) {
  const { muted = {} } = participant;
  const muting = [muted.audio && 'sound', muted.video && 'picture'].filter(Boolean).join(' and ');
  return [
    media?.why,
    isFirst && muting && `${muting} muted`,
    media?.paused && 'picture paused: the path does not take it',
    media?.left_out > 0 && `${whole(media.left_out)} packets left out`,
  ].filter(Boolean).join('; ');
}

const bits = (bytesPerSecond) => bitrate(bytesPerSecond * 8);
const perSecond = (bytesPerSecond) => `${bytes(bytesPerSecond)}/s`;
