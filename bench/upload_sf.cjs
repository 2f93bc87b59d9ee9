// bench/upload.py's contender sf: the one file as one job, by the commands that an administrator types, and the results saved.
// The commands are processes of their own; the peak is that of the one that needs the most memory.
'use strict';
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');

function sf(...words) {
  return JSON.parse(execFileSync('sf', [...words, '--json'], {
    encoding: 'utf8', maxBuffer: 1 << 30, env: { ...process.env, SF_ACCESS_TOKEN: process.env.TOKEN },
  })).result;
}

process.on('uncaughtException', (error) => { console.error(error.stderr || error.stack); process.exit(1); });
sf('org', 'login', 'access-token', '--instance-url', process.env.ORG, '--no-prompt', '--alias', 'bench');
const done = sf('data', 'upsert', 'bulk', '-s', 'Sales_Line__c', '-i', 'External_ID__c', '--line-ending', 'LF',
  '-f', `${process.env.STAGED}/all.csv`, '-w', '30', '-o', 'bench');
const told = sf('data', 'bulk', 'results', '-i', done.jobInfo.id, '-o', 'bench');
fs.renameSync(told.successFilePath, 'logs/success.csv');
