// Prints the tokens that Microsoft's Node.js library makes: reads {"expires_at", "cases"} from
// standard input, and prints a JSON list.
'use strict';

const { SharedAccessSignature } = require('azure-iot-common');
const { encodeUriComponentStrict } = require('azure-iot-common/dist/authorization');

const work = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const tokens = work.cases.map(({ uri, policy, key }) =>
  SharedAccessSignature.create(encodeUriComponentStrict(uri), policy, key, work.expires_at).toString(),
);
process.stdout.write(JSON.stringify(tokens));
