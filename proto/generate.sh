#!/bin/sh
# Makes proto/gen/*.ts from proto/*.proto with the compiler and the plugin that package-lock.json pins.
set -eu
cd "$(dirname "$0")"
rm -rf gen && mkdir gen
PATH="$PWD/../node_modules/.bin:$PATH"
protoc --plugin=../node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=gen --proto_path=. \
  --ts_proto_opt=esModuleInterop=true,importSuffix=.ts,oneof=unions-value,useReadonlyTypes=true,outputServices=grpc-js,outputJsonMethods=false,unrecognizedEnum=false,enumsAsLiterals=true,removeEnumPrefix=true,useDate=false,exportCommonSymbols=false,outputIndex=false \
  ./*.proto
