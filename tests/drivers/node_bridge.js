// Does with node-oracledb in Thin mode what a test asks for: a request of JSON on each line in, an answer of JSON on each
// line out. Expects TZ=UTC, because the driver reads moments in the zone of its process.
'use strict';

const readline = require('node:readline');
const oracledb = require('oracledb');

// numbers as text keep their digits
oracledb.fetchTypeHandler = (column) =>
  column.dbType === oracledb.DB_TYPE_NUMBER ? { type: oracledb.STRING } : undefined;

let connection;
let fetchRows;

const fromJson = (value) => (value && value.moment ? new Date(`${value.moment}Z`) : value);
const toJson = (value) => (value instanceof Date ? value.toISOString().replace('Z', '') : value);

const calls = {
  async login({ dsn, user, password, fetch }) {
    fetchRows = fetch;
    connection = await oracledb.getConnection({ connectString: dsn, user, password });
    return connection.oracleServerVersionString;
  },

  async query({ sql, binds }) {
    const options = { resultSet: true, prefetchRows: fetchRows, fetchArraySize: fetchRows };
    const { resultSet } = await connection.execute(sql, binds.map(fromJson), options);
    const rows = [];
    for (let part; (part = await resultSet.getRows(fetchRows)).length; ) rows.push(...part);
    await resultSet.close();
    return rows.map((row) => row.map(toJson));
  },

  async change({ sql, rows }) {
    const result = rows.length
      ? await connection.executeMany(sql, rows.map((row) => row.map(fromJson)))
      : await connection.execute(sql);
    return result.rowsAffected;
  },

  commit: () => connection.commit(),
  rollback: () => connection.rollback(),
  close: () => connection.close(),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = { answer: (await calls[request.do](request)) ?? null };
    } catch (error) {
      answer = { error: error.message };
    }
    console.log(JSON.stringify(answer));
  }
}

main();
