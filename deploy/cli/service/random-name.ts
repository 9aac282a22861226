// Names for services that were given none: an adjective and a thing, with enough combinations to seldom meet.

import type { Random } from "../../../proto/base/random.ts";

const FIRST =
  "amber brisk calm clear cosy crisp daring eager early fair fleet fond gentle glad golden happy hardy keen kind lively loyal lucky merry mild neat nimble noble plucky proud quick quiet ready sharp shy silent smart snug solid steady stout sunny swift tidy true vivid warm wise witty young zesty".split(
    " ",
  );
const SECOND =
  "acorn anchor badger barn beacon birch bridge brook canyon castle cedar cliff clover comet coral creek dune elm ember falcon fern field finch fjord forest fox garden glacier harbor hazel heron hill island lake lantern lark maple meadow mill moon moss oak orchard otter pebble pine planet pond quarry reef ridge river robin sail sparrow spruce star stone storm summit thistle tide trail valley wave willow wren".split(
    " ",
  );

export function randomName(random: Random): string {
  const pick = (words: readonly string[]): string => words[random.int(0, words.length)] ?? "";
  return `${pick(FIRST)}_${pick(SECOND)}`;
}
