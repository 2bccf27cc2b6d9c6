import { poisonMarks } from './records.ts';
import type { Cluster } from './cluster.ts';
import type { Scenario } from './scenario.ts';

/** Lets the database treat marked records as it treats real ones that it cannot hold, or that bring a process down. */
async function installPoison(cluster: Cluster): Promise<void> {
  await cluster.query(`
    create function poison() returns trigger language plpgsql as $$
    begin
      if new.record is null then return new; end if;
      if strpos(new.record::text, '${poisonMarks.unstorable}') > 0 then
        raise exception 'a value is too large' using errcode = '54000';
      end if;
      if strpos(new.record::text, '${poisonMarks.deadly}') > 0 then
        perform pg_terminate_backend(pg_backend_pid());
      end if;
      return new;
    end $$`);
  await cluster.query('create trigger poison before insert on entries for each row execute function poison()');
}

const unstorable: Scenario = {
  name: 'poison records among good ones',
  isShort: true,
  async disturb(context) {
    const { cluster, load } = context;
    await installPoison(cluster);
    const sizes = [0, 40, 500, 1500].slice(0, context.repeat(3, 4));
    for (const neighbours of sizes) {
      await load.send(await load.source.poisoned('unstorable', neighbours));
      await context.waitForSettled(20);
    }
    return { done: `${sizes.length} that the database cannot hold, each rejected alone`, disturbances: 0 };
  },
};

const deadly: Scenario = {
  name: 'records that end every session that touches them',
  isShort: false,
  // Two tries at the record alone are needed to know it, and the product pauses up to a minute before the last ones.
  settleTimeoutMs: 150_000,
  async disturb(context) {
    const { cluster, load } = context;
    await installPoison(cluster);
    const sizes = [0, 300];
    for (const neighbours of sizes) {
      await load.send(await load.source.poisoned('deadly', neighbours));
      await context.waitForSettled(20);
    }
    // Three tries of the whole and two of the record alone; neighbours of both records share the tries of both.
    return { done: `${sizes.length} records, each given up alone`, disturbances: 5 * sizes.length };
  },
};

/** Faults that come with the data. */
export const poisonScenarios: readonly Scenario[] = [unstorable, deadly];
