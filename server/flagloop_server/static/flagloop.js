// Loads one module for each behaviour. Every page works without them.
import { startClock } from "./clock.js";
import { startKeyboard } from "./keyboard.js";
import { startLive } from "./live.js";
import { startMenus } from "./menus.js";
import { startOnce } from "./once.js";
import { startPreview } from "./preview.js";
import { startCopy } from "./copy.js";

startClock();
startCopy();
startKeyboard();
startLive();
startMenus();
startOnce();
startPreview();
