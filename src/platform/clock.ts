const dateTimePattern = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;

/**
 * Reads an RFC 3339 date-time as microseconds since the Unix epoch, digits beyond a microsecond cut off. Undefined for
 * anything else, also for days that do not exist, and for times before 1685 or after 2255, whose microseconds a double
 * cannot count. A leap second (:60) counts as the next second.
 */
export function parseDateTimeMicros(text: string): number | undefined {
  const match = dateTimePattern.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const offsetText = match[8]!;
  const offsetHours = offsetText.length === 1 ? 0 : Number(offsetText.slice(1, 3));
  const offsetMinutes = offsetText.length === 1 ? 0 : Number(offsetText.slice(4, 6));
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 60 || offsetHours > 23 || offsetMinutes > 59)
    return undefined;
  const midnight = new Date(0);
  midnight.setUTCFullYear(year, month - 1, day);
  if (midnight.getUTCMonth() !== month - 1 || midnight.getUTCDate() !== day) return undefined;
  const offsetSign = offsetText.startsWith('-') ? -1 : 1;
  const seconds = hour * 3600 + minute * 60 + second - offsetSign * (offsetHours * 3600 + offsetMinutes * 60);
  const fraction = Number((match[7] ?? '').slice(0, 6).padEnd(6, '0'));
  const micros = midnight.getTime() * 1000 + seconds * 1_000_000 + fraction;
  return Number.isSafeInteger(micros) ? micros : undefined;
}

/** An RFC 3339 UTC time with as many fractional digits as it needs, from microseconds since the Unix epoch. */
export function formatDateTimeMicros(micros: number): string {
  const milliseconds = Math.floor(micros / 1000);
  const rest = micros - milliseconds * 1000;
  const text = new Date(milliseconds).toISOString();
  return rest === 0 ? text : `${text.slice(0, -1)}${String(rest).padStart(3, '0')}Z`;
}
