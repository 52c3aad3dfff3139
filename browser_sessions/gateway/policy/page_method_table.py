"""Methods that only affect the page, its renderer or its context's storage partition.

Methods are listed one by one rather than by domain, so that one which a later Chromium adds is refused until it has
been reviewed. The exceptions of these domains are in `method_table`. A test calls each method with a foreign frame id
on a live Chromium (tests/browser/gateway/test_gateway_protocol.py)."""

from __future__ import annotations

from typing import Final

PAGE_OWN: Final[dict[str, tuple[str, str]]] = {
    "Accessibility": (
        "reads the accessibility tree of the page's own documents",
        "disable enable getPartialAXTree getFullAXTree getRootAXNode getAXNodeAndAncestors getChildAXNodes queryAXTree",
    ),
    "Ads": (
        "advertisements that the page's own frames loaded",
        "getAdMetrics getAdScripts",
    ),
    "Animation": (
        "animations of the page's own documents",
        """
        disable enable getCurrentTime getPlaybackRate releaseAnimations resolveAnimation seekAnimations
        setPaused setPlaybackRate setTiming
        """,
    ),
    "Audits": (
        "findings about the page itself",
        "getEncodedResponse disable enable checkFormsIssues",
    ),
    "BackgroundService": (
        "events in the storage partition of the page's context",
        "startObserving stopObserving setRecording clearEvents",
    ),
    "CSS": (
        "styles of the page's own documents",
        """
        addRule collectClassNames createStyleSheet disable enable forcePseudoState forceStartingStyle
        getBackgroundColors getComputedStyleForNode resolveValues getLonghandProperties getInlineStylesForNode
        getAnimatedStylesForNode getMatchedStylesForNode getEnvironmentVariables getMediaQueries
        getPlatformFontsForNode getStyleSheetText getLayersForNode getLocationForSelector
        trackComputedStyleUpdatesForNode trackComputedStyleUpdates takeComputedStyleUpdates
        setEffectivePropertyValueForNode setPropertyRulePropertyName setKeyframeKey setMediaText
        setContainerQueryText setContainerQueryConditionText setSupportsText setNavigationText setScopeText
        setRuleSelector setStyleSheetText setStyleTexts startRuleUsageTracking stopRuleUsageTracking
        takeCoverageDelta setLocalFontsEnabled
        """,
    ),
    "CacheStorage": (
        "caches of the page's storage partition; ids of other partitions are unknown there",
        "deleteCache deleteEntry requestCacheNames requestCachedResponse requestEntries",
    ),
    "Console": (
        "messages of the page's own scripts",
        "clearMessages disable enable",
    ),
    "CrashReportContext": (
        "entries of the page's own frames",
        "getEntries",
    ),
    "DOM": (
        "nodes of the page's own documents",
        """
        collectClassNamesFromSubtree copyTo describeNode scrollIntoViewIfNeeded disable discardSearchResults
        enable focus getAttributes getBoxModel getContentQuads getDocument getFlattenedDocument
        getNodesForSubtreeByStyle getNodeForLocation getOuterHTML getRelayoutBoundary getSearchResults
        hideHighlight highlightNode highlightRect markUndoableState moveTo performSearch
        pushNodeByPathToFrontend pushNodesByBackendIdsToFrontend querySelector querySelectorAll
        getTopLayerElements getElementByRelation redo removeAttribute removeNode requestChildNodes requestNode
        resolveNode setAttributeValue setAttributesAsText setNodeStackTracesEnabled getNodeStackTraces
        getFileInfo getDetachedDomNodes setInspectedNode setNodeName setNodeValue setOuterHTML undo
        getFrameOwner getContainerForNode getQueryingDescendantsForContainer getAnchorElement forceShowPopover
        getImplicitAnchorCandidates forceShowInterest setTextMarker clearTextMarkers
        """,
    ),
    "DOMDebugger": (
        "breakpoints in the page's own renderer",
        """
        getEventListeners removeDOMBreakpoint removeEventListenerBreakpoint removeInstrumentationBreakpoint
        removeXHRBreakpoint setBreakOnCSPViolation setDOMBreakpoint setEventListenerBreakpoint
        setInstrumentationBreakpoint setXHRBreakpoint
        """,
    ),
    "DOMSnapshot": (
        "a copy of the page's own documents",
        "disable enable getSnapshot captureSnapshot",
    ),
    "DOMStorage": (
        "local and session storage of the page's own storage partition",
        "clear disable enable getDOMStorageItems removeDOMStorageItem setDOMStorageItem",
    ),
    "Debugger": (
        "scripts of the page's own renderer, which no other context shares",
        """
        continueToLocation disable enable evaluateOnCallFrame getPossibleBreakpoints getScriptSource
        disassembleWasmModule nextWasmDisassemblyChunk getWasmBytecode getStackTrace pause pauseOnAsyncCall
        removeBreakpoint restartFrame resume searchInContent setAsyncCallStackDepth
        setBlackboxExecutionContexts setBlackboxPatterns setBlackboxedRanges setBreakpoint
        setInstrumentationBreakpoint setBreakpointByUrl setBreakpointOnFunctionCall setBreakpointsActive
        setPauseOnExceptions setReturnValue setScriptSource setSkipAllPauses setVariableValue stepInto stepOut
        stepOver
        """,
    ),
    "DeviceOrientation": (
        "a sensor value for the page itself",
        "clearDeviceOrientationOverride setDeviceOrientationOverride",
    ),
    "DigitalCredentials": (
        "a virtual wallet for one of the page's own frames",
        "setVirtualWalletBehavior",
    ),
    "Emulation": (
        "the environment that the page sees",
        """
        canEmulate clearDeviceMetricsOverride clearGeolocationOverride resetPageScaleFactor
        setFocusEmulationEnabled setAutoDarkModeOverride setCPUThrottlingRate
        setDefaultBackgroundColorOverride setSafeAreaInsetsOverride setVirtualKeyboardGeometryOverride
        setDevicePostureOverride clearDevicePostureOverride clearDisplayFeaturesOverride setScrollbarsHidden
        setDocumentCookieDisabled setEmitTouchEventsForMouse setEmulatedMedia setEmulatedVisionDeficiency
        setEmulatedOSTextScale setGeolocationOverride getOverriddenSensorInformation setSensorOverrideEnabled
        setSensorOverrideReadings setPressureSourceOverrideEnabled setPressureStateOverride setIdleOverride
        clearIdleOverride setNavigatorOverrides setPageScaleFactor setScriptExecutionDisabled
        setTouchEmulationEnabled setVirtualTimePolicy setLocaleOverride setTimezoneOverride
        setDisabledImageTypes setDataSaverOverride setHardwareConcurrencyOverride setCPUPerformanceOverride
        setUserAgentOverride setAutomationOverride setSmallViewportHeightDifferenceOverride getScreenInfos
        """,
    ),
    "EventBreakpoints": (
        "breakpoints in the page's own renderer",
        "setInstrumentationBreakpoint removeInstrumentationBreakpoint disable",
    ),
    "FedCm": (
        "dialogs that the page itself opened",
        "enable disable selectAccount clickDialogButton openUrl dismissDialog resetCooldown",
    ),
    "Fetch": (
        "requests of the page itself, paused for this client",
        "disable enable failRequest fulfillRequest continueWithAuth continueResponse getResponseBody",
    ),
    "FileSystem": (
        "the origin private file system in the page's storage partition: no path of the host",
        "getDirectory",
    ),
    "FindInPage": (
        "searches the page's own text",
        "findFirst findNext findPrev stop",
    ),
    "HeadlessExperimental": (
        "frames of the page itself, if it was created with BeginFrame control",
        "beginFrame disable enable",
    ),
    "HeapProfiler": (
        "the heap of the page's own renderer, which no other context shares",
        """
        addInspectedHeapObject collectGarbage disable enable getHeapObjectId getObjectByHeapObjectId
        getSamplingProfile startSampling startTrackingHeapObjects stopSampling stopTrackingHeapObjects
        takeHeapSnapshot
        """,
    ),
    "IndexedDB": (
        "databases of the page's own storage partition",
        """
        clearObjectStore deleteDatabase deleteObjectStoreEntries disable enable requestData getMetadata
        requestDatabase requestDatabaseNames
        """,
    ),
    "Input": (
        "events to the page itself",
        """
        insertText cancelDragging
        setIgnoreInputEvents setInterceptDrags synthesizePinchGesture synthesizeScrollGesture
        """,
    ),
    "Inspector": (
        "reports a crash of the page itself",
        "disable enable",
    ),
    "LayerTree": (
        "layers of the page itself",
        """
        compositingReasons disable enable loadSnapshot makeSnapshot profileSnapshot releaseSnapshot
        replaySnapshot snapshotCommandLog
        """,
    ),
    "Log": (
        "log entries of the page itself",
        "clear disable enable startViolationsReport stopViolationsReport",
    ),
    "Media": (
        "players of the page itself",
        "enable disable",
    ),
    "Memory": (
        "counters of the page's own renderer, which no other context shares",
        "getDOMCounters getDOMCountersForLeakDetection forciblyPurgeJavaScriptMemory",
    ),
    "Network": (
        "requests, cookies and cache of the page's own context",
        """
        canClearBrowserCache canClearBrowserCookies canEmulateNetworkConditions clearBrowserCache
        clearBrowserCookies deleteCookies disable emulateNetworkConditions emulateNetworkConditionsByRule
        overrideNetworkState enable getAllCookies getCertificate getCookies getResponseBody getRequestPostData
        replayXHR searchInResponseBody setBlockedURLs setBypassServiceWorker setCacheDisabled setCookie
        setCookies setExtraHTTPHeaders setAttachDebugStack setUserAgentOverride streamResourceContent
        getSecurityIsolationStatus enableReportingApi enableDeviceBoundSessions deleteDeviceBoundSession
        fetchSchemefulSite setCookieControls
        """,
    ),
    "Overlay": (
        "drawn over the page itself",
        """
        disable enable getHighlightObjectForTest getGridHighlightObjectsForTest
        getSourceOrderHighlightObjectForTest hideHighlight highlightFrame highlightNode highlightQuad
        highlightRect highlightSourceOrder setInspectMode setShowAdHighlights setPausedInDebuggerMessage
        setShowDebugBorders setShowFPSCounter setShowGridOverlays setShowFlexOverlays
        setShowScrollSnapOverlays setShowContainerQueryOverlays setShowInspectedElementAnchor
        setShowPaintRects setShowLayoutShiftRegions setShowScrollBottleneckRects setShowHitTestBorders
        setShowWebVitals setShowViewportSizeOnResize setShowHinge setShowDisplayCutout setShowIsolatedElements
        setShowWindowControlsOverlay
        """,
    ),
    "Page": (
        "the page itself",
        """
        addScriptToEvaluateOnLoad addScriptToEvaluateOnNewDocument bringToFront captureSnapshot
        clearDeviceMetricsOverride clearDeviceOrientationOverride clearGeolocationOverride createIsolatedWorld
        deleteCookie disable enable getAppManifest getInstallabilityErrors getManifestIcons getAppId
        getSubApps getSiblingSubApps getAdScriptAncestry getFrameTree getLayoutMetrics getNavigationHistory
        resetNavigationHistory getResourceContent getResourceTree handleJavaScriptDialog
        navigateToHistoryEntry reload removeScriptToEvaluateOnLoad removeScriptToEvaluateOnNewDocument
        screencastFrameAck searchInResource setAdBlockingEnabled setBypassCSP getPermissionsPolicyState
        getOriginTrials setDeviceOrientationOverride setFontFamilies setFontSizes setDocumentContent
        setGeolocationOverride setLifecycleEventsEnabled setTouchEmulationEnabled startScreencast stopLoading
        crash close setWebLifecycleState stopScreencast produceCompilationCache addCompilationCache
        clearCompilationCache setSPCTransactionMode setRPHRegistrationMode generateTestReport waitForDebugger
        setInterceptFileChooserDialog setPrerenderingAllowed getAnnotatedPageContent
        """,
    ),
    "Performance": (
        "counters of the page's own renderer",
        "disable enable setTimeDomain getMetrics",
    ),
    "PerformanceTimeline": (
        "events of the page itself",
        "enable",
    ),
    "Preload": (
        "what the page itself preloads",
        "enable disable",
    ),
    "Profiler": (
        "scripts of the page's own renderer, which no other context shares",
        """
        disable enable getBestEffortCoverage setSamplingInterval start startPreciseCoverage stop
        stopPreciseCoverage takePreciseCoverage
        """,
    ),
    "Runtime": (
        "scripts of the page's own renderer, which no other context shares",
        """
        awaitPromise callFunctionOn compileScript disable discardConsoleEntries enable evaluate getIsolateId
        getHeapUsage getProperties globalLexicalScopeNames queryObjects releaseObject releaseObjectGroup
        runScript setAsyncCallStackDepth setCustomObjectFormatterEnabled setMaxCallStackSizeToCapture
        terminateExecution addBinding removeBinding getExceptionDetails
        """,
    ),
    "Security": (
        "the page's own connections; at browser level it would affect all sessions",
        "disable enable setIgnoreCertificateErrors handleCertificateError setOverrideCertificateErrors",
    ),
    "ServiceWorker": (
        "workers of the page's own storage partition",
        """
        deliverPushMessage disable dispatchSyncEvent dispatchPeriodicSyncEvent enable setForceUpdateOnPageLoad
        skipWaiting startWorker stopAllWorkers stopWorker unregister updateRegistration
        """,
    ),
    "Storage": (
        "the storage partition of the page's context",
        """
        getStorageKeyForFrame getStorageKey clearDataForOrigin clearDataForStorageKey getUsageAndQuota
        trackCacheStorageForOrigin trackCacheStorageForStorageKey trackIndexedDBForOrigin
        trackIndexedDBForStorageKey untrackCacheStorageForOrigin untrackCacheStorageForStorageKey
        untrackIndexedDBForOrigin untrackIndexedDBForStorageKey getTrustTokens clearTrustTokens
        getPrivateVerificationTokens getPrivateVerificationTokensIssuerConfigs clearPrivateVerificationTokens
        deletePrivateVerificationToken setPrivateVerificationTokensTracking setStorageBucketTracking
        deleteStorageBucket runBounceTrackingMitigations
        """,
    ),
    "WebAudio": (
        "audio graphs of the page itself",
        "enable disable getRealtimeData",
    ),
    "WebAuthn": (
        "virtual authenticators for the page's own frames, no real ones",
        """
        enable disable addVirtualAuthenticator setResponseOverrideBits removeVirtualAuthenticator
        addCredential getCredential getCredentials removeCredential clearCredentials setUserVerified
        setAutomaticPresenceSimulation setCredentialProperties
        """,
    ),
    "WebMCP": (
        "tools that the page itself offers",
        "enable disable invokeTool cancelInvocation",
    ),
}
"""Domain: (why its methods are allowed at page level, their names)."""
