export { h, render, Component, createContext, type ComponentChildren } from "preact";
export {
    useState, useReducer, useEffect, useLayoutEffect, useRef, useImperativeHandle, useMemo, useCallback, useContext,
    useDebugValue, useErrorBoundary,
} from "preact/hooks";
export declare function html(strings: TemplateStringsArray, ...values: any[]): any;
